"""Measures Waybill: uploads in turn with the bare store and with @tus/server, memory, rebuilding.

    cli                 options, and the scenarios one after the other
    scenarios, pairs    what is sent, by whom, how often, in which order
    ours, direct, raw, tus
                        the contestants: how they send, how their results are checked
    memory, rebuild     the scenarios without a peer
    rig, roles, peer    a stack of its own for each scenario, ended with it
    usage, quiet        CPU and memory of processes; when the work that an upload causes is done
    curl, s3, jetstream the client, the store's API, what the event log says of itself
    sources, machine    the files that are sent; where all of this ran
    report              medians, ratios of pairs, tables

Python 3.9 and its standard library only, like stacklib, which starts the servers.
"""
