cat > gelu.pat <<'END'
rule gelu: x * (Erf(x / 1.4) + 1) * 0.5 ~> com.microsoft.Gelu(x)
END
marquetry why gelu vit.onnx -p gelu.pat
