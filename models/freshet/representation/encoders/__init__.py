"""One module per modality. Every encoder is a torch module whose forward gives float32 (B, size)."""
