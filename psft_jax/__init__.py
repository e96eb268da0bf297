"""Patient-specific fine-tuning of a dual-pathway CNN for follow-up lesion quantification.

Jansen et al., "Patient-specific fine-tuning of convolutional neural networks for follow-up lesion
quantification", Journal of Medical Imaging 7(6), 064003 (2020).
"""
