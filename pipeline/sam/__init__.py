"""Segment Anything: prompts, automatic masks, text, and the embeddings that are kept between them."""
