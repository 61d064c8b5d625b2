"""Components of the nano backbone's pretraining: pictures, augmentation, targets and model."""
