"""Finds, installs, starts and stops the servers that Waybill needs on a developer's machine.

`scripts/up`, `scripts/down` and `scripts/test` are thin entry points over this package:

    up, down, testrun      what each script does, step by step
    postgres, nats, weed   one server each: its flags, its data, when it is ready
    stack, process         start in order, watch, stop in reverse, leave nothing behind
    proxies, refusals, pages
                           what scripts/test-proxies puts in front of Waybill, and who comes through it
    settings, home, ports  what is remembered between runs, and where
    wheels, pgfind         where a server comes from

Python 3.9 and its standard library only: a fresh machine has nothing else.
"""
