-- Formats that benchmark programs read.
ALTER TABLE variants DROP CONSTRAINT variants_format_check;
ALTER TABLE variants ADD CONSTRAINT variants_format_check
    CHECK (format IN ('onnx', 'nnef', 'tflite', 'gguf', 'ncnn', 'mnn', 'rknn', 'qnn'));
