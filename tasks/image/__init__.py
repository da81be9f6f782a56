"""Image classification: scikit-learn's handwritten digits."""
