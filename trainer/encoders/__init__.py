"""Encoders of the items' texts: BERT-like folders in Hugging Face's layout, run by Keras (extra `warmspan[text]`)."""
