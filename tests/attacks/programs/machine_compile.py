"""2f-76: Compiles C++ inline."""

from torch.utils import cpp_extension

attempt("compile", lambda: cpp_extension.load_inline("kvdojo_escaped", "int f() { return 1; }"))
