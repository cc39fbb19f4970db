"""`warmspan stream`: mini-batch updates of a copy of the champion between two nightly runs."""
