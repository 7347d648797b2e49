"""Measures Waybill: uploads in comparison with the bare store, @tus/server and tusd; memory; queries; rebuilding.

    cli                 options; runs the scenarios one after the other
    scenarios, pairs    the contestants, files, repetitions and their order
    ours, direct, raw, tus
                        the contestants: how they send, and how their results are checked
    memory, rebuild, queries, scale, company, sockets
                        the scenarios without a peer
    rig, roles, peer, tusd, distance
                        the stack of one scenario; it ends with the scenario
    usage, quiet        CPU and memory of processes; waits until the work that an upload causes is done
    curl, s3, jetstream, progress
                        the clients of HTTP, the store, the event log and the WebSocket interface
    fill, clones        events that are written directly into the log
    sources, machine    the files that are sent; a description of the machine
    report              medians, ratios of pairs, tables

Uses only Python 3.9 and its standard library, like stacklib, which starts the servers.
"""
