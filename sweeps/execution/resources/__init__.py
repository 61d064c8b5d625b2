"""Resources that trials reserve: CPUs, shares of GPUs, memory."""
