"""Product representations: encoders per modality, their fusion, training and export.

`preprocessing` and `manifest` are what serving imports; they, and only they, do without torch.
"""
