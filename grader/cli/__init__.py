"""The command line: one module per command, nothing but argument handling and printing.

A command's module is imported only when the command is called, so that `kvdojo --help` and
`kvdojo list` answer at once. No module here imports torch.
"""
