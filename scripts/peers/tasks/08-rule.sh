cat > gelu.pat <<'END'
rule gelu: x * (Erf(x / {sqrt(2)}) + 1) * 0.5 ~> com.microsoft.Gelu(x)
END
marquetry rewrite vit.onnx -p gelu.pat -o ours.onnx
