"""Finds, installs, starts and stops the servers that Waybill needs on a developer's machine.

`scripts/up`, `scripts/down` and `scripts/test` are thin entry points for this package:

    up, down, testrun      the steps of each script
    postgres, nats, weed   one server each: its flags, its data and its readiness check
    stack, process         start processes in order, watch them and stop them in reverse order
    proxies, refusals, pages
                           the proxies and the clients of scripts/test-proxies
    settings, home, ports  state that is kept between runs, and its location
    wheels, pgfind         find or install the programs of the servers

Uses only Python 3.9 and its standard library, because a new machine has nothing else.
"""
