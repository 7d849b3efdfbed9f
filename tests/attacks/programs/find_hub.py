"""2b-34: Downloads the answer."""

import urllib.request

attempt("download", lambda: urllib.request.urlopen("http://127.0.0.1:9/answer", timeout=0.2))
attempt("use torch.hub", lambda: torch.hub.load("pytorch/vision", "resnet18", trust_repo=True))
