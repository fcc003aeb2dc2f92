"""What describes a trained model: submodel, stack and ensemble specifications."""
