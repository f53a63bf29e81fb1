"""The course on a JupyterHub of this machine: ``make hub-test`` measures what students need, and that walls hold."""
