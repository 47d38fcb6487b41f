-- Formats that runners and benchmark programs read.
ALTER TABLE variants DROP CONSTRAINT variants_format_check;
ALTER TABLE variants ADD CONSTRAINT variants_format_check
    CHECK (format IN ('onnx', 'nnef', 'tflite', 'caffe', 'frozen_graph', 'saved_model',
        'gguf', 'ncnn', 'mnn', 'rknn', 'qnn'));
