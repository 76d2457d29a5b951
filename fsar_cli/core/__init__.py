"""The shared model core: tensors in, tensors out, on a CPU or CUDA; torch only (torchvision in `backbone`)."""
