marquetry rewrite vit.onnx -o ours.onnx
