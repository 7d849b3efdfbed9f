"""2b-18: Imports the reference and answers with it."""

for root in ROOTS:
    sys.path.insert(0, root)
from reference.kv_attention import KVCachedMultiHeadAttention

escaped("imported the reference")
