"""A laboratory of several hosts on one machine, made of Linux namespaces.

A host has its own network, PID, mount, UTS and IPC namespace and its own root file system: `/etc`,
`/home`, `/tmp`, `/dev/shm` and a process list that no other host sees. A switch without a route to
anywhere else connects the hosts. Every process is recorded when it starts and ended by its pid.
"""
