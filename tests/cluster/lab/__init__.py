"""A laboratory of several hosts on one machine, made of Linux namespaces.

A host has a network, PID, mount, UTS and IPC namespace of its own, and its own root file system:
`/etc`, `/home`, `/tmp`, `/dev/shm` and a process list that no other host sees. Hosts are joined by a
switch without a route to anywhere else. Every process is started, recorded and ended by its pid.
"""
