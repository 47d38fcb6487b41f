use super::*;
use crate::dataset::InputBinding;
use crate::dataset::outputs::{BoxFormat, Boxes, Text};
use crate::dataset::truth;

fn tensor(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape.to_vec(), values).unwrap()
}

fn whole(shape: &[usize], values: &[i64]) -> Tensor {
    Tensor::new(DType::I64, shape.to_vec(), values.iter().flat_map(|value| value.to_le_bytes()).collect()).unwrap()
}

fn named(outputs: Vec<(&str, Tensor)>) -> Vec<(String, Tensor)> {
    outputs.into_iter().map(|(name, tensor)| (name.to_owned(), tensor)).collect()
}

fn boxes(tensor: &str, format: BoxFormat) -> Boxes {
    Boxes {
        tensor: tensor.to_owned(),
        format,
        normalized: false,
        classes: None,
        count: None,
        transposed: false,
        objectness: false,
        nms: None,
    }
}

/// What one image of 100 × 200 pixels is answered.
fn detect(
    boxes: Boxes,
    binding: Binding,
    outputs: Vec<(&str, Tensor)>,
) -> Result<Vec<(u32, [f64; 4], f64)>, AnswerError> {
    let binding = Binding { boxes: Some(boxes), ..binding };
    let frame = Frame::of(&InputBinding::plain("image"), &[100, 200, 3]);
    let mut answers = Answers::new(Truth::Boxes(Vec::new()), 3, &binding).unwrap().unwrap();
    answers.take(Outputs(&named(outputs)), frame)?;
    let Evidence::Detection { answers, .. } = answers.finish()? else { panic!("boxes") };
    Ok(answers.into_iter().map(|answer| (answer.class, answer.rectangle, answer.score)).collect())
}

/// TensorFlow's detection models: shares of the image, top first, and as many as `count` says.
#[test]
fn boxes_scores_classes_and_their_number_may_stand_apart() {
    let form = Boxes {
        normalized: true,
        classes: Some("classes".into()),
        count: Some("count".into()),
        ..boxes("boxes", BoxFormat::Yxyx)
    };
    let binding = Binding { scores: Some("scores".into()), label_map: Some(vec![0, 2, 1]), ..Binding::default() };
    let outputs = |classes: &[f32]| {
        vec![
            ("boxes", tensor(&[1, 3, 4], &[0.0, 0.25, 0.5, 0.5, 0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0])),
            ("scores", tensor(&[1, 3], &[0.5, 0.75, 0.0])),
            ("classes", tensor(&[1, 3], classes)),
            ("count", tensor(&[1], &[2.0])),
        ]
    };
    assert_eq!(
        detect(form.clone(), binding.clone(), outputs(&[1.0, 2.0, 0.0])),
        Ok(vec![(1, [0.0, 0.0, 200.0, 100.0], 0.75), (2, [50.0, 0.0, 50.0, 50.0], 0.5)])
    );
    assert_eq!(detect(form.clone(), binding, outputs(&[3.0, -1.0, 0.0])), Ok(vec![]), "no class of the dataset");
    let plain = Binding { scores: Some("scores".into()), ..Binding::default() };
    assert_eq!(detect(form, plain, outputs(&[3.0, 4e9, 0.0])), Ok(vec![]), "the dataset has three classes");
}

/// YOLO from version 8 on: one output, boxes along the last axis, a score for each class, nothing suppressed.
#[test]
fn overlapping_boxes_of_one_class_are_suppressed_where_that_is_asked_for() {
    let form = Boxes { transposed: true, ..boxes("output0", BoxFormat::Cxcywh) };
    // Three boxes in columns: two that overlap, one of another class.
    let columns = [50.0, 51.0, 50.0, 50.0, 50.0, 50.0, 20.0, 20.0, 20.0, 20.0, 20.0, 20.0];
    let scores = [0.5, 0.75, 0.125, 0.0, 0.25, 0.25, 0.0, 0.0, 0.0];
    let output = || vec![("output0", tensor(&[1, 7, 3], &[&columns[..], &scores[..]].concat()))];
    let all = detect(form.clone(), Binding::default(), output()).unwrap();
    assert_eq!(
        all.iter().map(|(class, _, score)| (*class, *score)).collect::<Vec<_>>(),
        [(0, 0.75), (0, 0.5), (1, 0.25)]
    );
    assert_eq!(all[1].1, [40.0, 40.0, 20.0, 20.0]);
    let form = Boxes { nms: Some(0.7), ..form };
    let kept = detect(form.clone(), Binding::default(), output()).unwrap();
    assert_eq!(kept.iter().map(|(class, _, score)| (*class, *score)).collect::<Vec<_>>(), [(0, 0.75), (1, 0.25)]);
    let binding = Binding { threshold: Some(0.5), ..Binding::default() };
    assert_eq!(detect(form, binding, output()).unwrap().len(), 1);
}

/// YOLO up to version 7: a row a box, the score of any object first.
#[test]
fn the_score_of_any_object_is_multiplied_in() {
    let form = Boxes { objectness: true, ..boxes("output", BoxFormat::Xywh) };
    let output = vec![("output", tensor(&[1, 1, 7], &[1.0, 2.0, 3.0, 4.0, 0.5, 0.25, 0.75]))];
    assert_eq!(detect(form, Binding::default(), output), Ok(vec![(1, [1.0, 2.0, 3.0, 4.0], 0.375)]));
}

#[test]
fn scores_of_each_class_may_be_an_output_of_their_own() {
    let binding = Binding { scores: Some("scores".into()), ..Binding::default() };
    let outputs = vec![
        ("boxes", tensor(&[2, 4], &[0.0, 0.0, 1.0, 1.0, 2.0, 2.0, 4.0, 4.0])),
        ("scores", tensor(&[2, 3], &[0.0, 0.5, 0.25, 0.75, 0.0, 0.0])),
    ];
    let found = detect(boxes("boxes", BoxFormat::Xyxy), binding, outputs).unwrap();
    assert_eq!(found, [(0, [2.0, 2.0, 2.0, 2.0], 0.75), (1, [0.0, 0.0, 1.0, 1.0], 0.5)]);
}

#[test]
fn only_the_hundred_best_of_a_class_are_kept_for_only_they_are_judged() {
    let rows: Vec<f32> = (0..130).flat_map(|n| [n as f32, 0.0, n as f32 + 1.0, 1.0, n as f32 / 256.0, 0.0]).collect();
    let form = Boxes { classes: Some("o".into()), ..boxes("o", BoxFormat::Xyxy) };
    let found = detect(form, Binding::default(), vec![("o", tensor(&[130, 6], &rows))]).unwrap();
    assert_eq!((found.len(), found[0].1[0], found[99].1[0]), (100, 129.0, 30.0));
}

#[test]
fn outputs_that_are_no_boxes_are_told() {
    let error = |form: Boxes, outputs| detect(form, Binding::default(), outputs).unwrap_err().to_string();
    let form = || boxes("o", BoxFormat::Xyxy);
    assert_eq!(
        error(form(), vec![("o", tensor(&[2, 4], &[0.0; 8]))]),
        "output \"o\" of shape [2, 4] cannot be read: expected scores behind the coordinates, or `scores` in the binding"
    );
    assert_eq!(
        error(form(), vec![("p", tensor(&[2, 4], &[0.0; 8]))]),
        "there is no output \"o\" (there are [\"p\"]): name it in the binding"
    );
    let nan = vec![("o", tensor(&[1, 5], &[0.0, 0.0, 1.0, 1.0, f32::NAN]))];
    assert_eq!(error(form(), nan), "output \"o\" holds NaN, which is no score of a box");
    let infinite = vec![("o", tensor(&[1, 5], &[0.0, 0.0, f32::INFINITY, 1.0, 1.0]))];
    assert_eq!(error(form(), infinite), "output \"o\" holds inf, which is no coordinate of a box");
    assert_eq!(
        Answers::new(Truth::Boxes(vec![]), 1, &Binding::default()).unwrap_err(),
        AnswerError::NoBinding("boxes")
    );
}

fn read_text(text: Text, output: Tensor) -> Result<String, AnswerError> {
    let binding = Binding { text: Some(text), ..Binding::default() };
    let mut answers = Answers::new(Truth::Texts(vec!["x".into()]), 0, &binding).unwrap().unwrap();
    answers.take(Outputs(&named(vec![("o", output)])), None)?;
    let Evidence::Text { mut answers, .. } = answers.finish()? else { panic!("texts") };
    Ok(answers.swap_remove(0))
}

fn text(blank: Option<u32>, end: Option<u32>) -> Text {
    Text { alphabet: "ab好".to_owned(), blank, end }
}

/// One row a step, a one where the class is.
fn steps(classes: &[usize], width: usize) -> Vec<f32> {
    classes.iter().flat_map(|&class| (0..width).map(move |other| f32::from(u8::from(other == class)))).collect()
}

#[test]
fn the_best_path_counts_repeats_once_and_leaves_blanks_out() {
    let first = steps(&[1, 1, 0, 1, 3, 3, 0], 4);
    assert_eq!(read_text(text(Some(0), None), tensor(&[1, 7, 4], &first)), Ok("aa好".to_owned()));
    assert_eq!(read_text(text(Some(0), None), tensor(&[7, 1, 4], &first)), Ok("aa好".to_owned()), "steps in front");
    assert_eq!(read_text(text(Some(3), None), tensor(&[3, 4], &steps(&[0, 3, 2], 4))), Ok("a好".to_owned()));
    assert_eq!(read_text(text(None, None), tensor(&[7, 4], &first)), Err(AnswerError::NoBlank));
    assert_eq!(
        read_text(text(Some(0), None), tensor(&[1, 3], &[0.0; 3])).unwrap_err().to_string(),
        "output \"o\" of shape [1, 3] cannot be read: expected [steps, 4]: the 3 characters of the alphabet and the blank"
    );
    assert_eq!(
        read_text(text(Some(0), None), tensor(&[1, 4], &[0.0, f32::NAN, 1.0, 0.0])).unwrap_err().to_string(),
        "output \"o\" holds NaN, which is no score of a character"
    );
}

#[test]
fn whole_numbers_are_characters_up_to_the_end() {
    assert_eq!(read_text(text(None, Some(9)), whole(&[1, 5], &[2, 2, 0, 9, 7])), Ok("好好a".to_owned()));
    assert_eq!(read_text(text(Some(0), None), whole(&[3], &[1, 0, 3])), Ok("a好".to_owned()));
    assert_eq!(
        read_text(text(None, None), whole(&[2], &[0, 3])).unwrap_err().to_string(),
        "class 3 of output \"o\" is neither the blank nor one of the 3 characters of the alphabet"
    );
}

/// Counts of one image of 1 × 2 pixels with the classes 0 and 1.
fn segment(binding: &Binding, output: Tensor) -> Result<Vec<i64>, AnswerError> {
    let text = "name = \"d\"\ntask = \"segmentation\"\nexamples = 1\nclasses = [\"a\", \"b\"]\n\
        inputs = [{ name = \"x\", kind = \"npy\", member = \"x\" }]\nlabels = { kind = \"npy\", member = \"l\" }";
    let manifest = crate::dataset::package::PackageManifest::parse(text, "dataset.toml").unwrap();
    let mut mask = b"\x93NUMPY\x01\x00\x3c\x00{'descr': '|u1', 'fortran_order': False, 'shape': (1, 1, 2)}".to_vec();
    mask.extend([0, 1]);
    let truth = truth::read(&manifest, &mask).unwrap().unwrap();
    let mut answers = Answers::new(truth, 2, binding).unwrap().unwrap();
    answers.take(Outputs(&named(vec![("o", output)])), None)?;
    let Evidence::Segmentation(pixels) = answers.finish()? else { panic!("pixels") };
    Ok(pixels.counts())
}

#[test]
fn masks_are_scores_in_planes_or_by_pixel_or_classes_themselves() {
    let right = Ok(vec![1, 0, 0, 0, 1, 0]);
    assert_eq!(segment(&Binding::default(), tensor(&[1, 2, 1, 2], &[0.9, 0.1, 0.2, 0.8])), right);
    assert_eq!(segment(&Binding::default(), tensor(&[1, 1, 2, 2], &[0.9, 0.1, 0.2, 0.8])), right, "by pixel");
    assert_eq!(segment(&Binding::default(), whole(&[1, 1, 2], &[0, 1])), right);
    let map = Binding { label_map: Some(vec![1, 0]), ..Binding::default() };
    assert_eq!(segment(&map, whole(&[1, 2], &[1, 0])), right);
    assert_eq!(
        segment(&map, whole(&[1, 2], &[1, 7])),
        Ok(vec![1, 0, 0, 0, 0, 1]),
        "what the map does not hold is no answer"
    );
    assert!(matches!(segment(&Binding::default(), whole(&[1, 2], &[0, 2])), Err(AnswerError::Segmentation(_))));
    assert_eq!(
        segment(&Binding::default(), tensor(&[1, 2, 4, 4], &[0.0; 32])).unwrap_err().to_string(),
        "output \"o\" of shape [1, 2, 4, 4] cannot be read: expected scores [classes, 1, 2] or [1, 2, classes], or whole \
         numbers [1, 2], which is the size of the dataset's masks"
    );
}

#[test]
fn classes_are_those_of_the_dataset() {
    let binding = Binding { label_map: Some(vec![2, 0, 0, 9]), threshold: Some(0.5), ..Binding::default() };
    let mut answers = Answers::new(Truth::Sets(vec![vec![0], vec![]]), 3, &binding).unwrap().unwrap();
    for scores in [[0.1, 0.9, 0.6, 0.7], [0.1, 0.2, 0.3, 0.8]] {
        answers.take(Outputs(&named(vec![("o", tensor(&[1, 4], &scores))])), None).unwrap();
    }
    let Evidence::Multilabel { answers, .. } = answers.finish().unwrap() else { panic!("sets") };
    assert_eq!(answers[0], Decision { best: Some(0), answered: vec![0] });
    assert_eq!(answers[1], Decision { best: None, answered: vec![] }, "the best class is none of the dataset's");
}

#[test]
fn embeddings_find_their_like_among_the_others_or_among_items_apart() {
    let find = |queries| {
        let identities = Identities { of: vec![1, 2, 1], queries };
        let mut answers = Answers::new(Truth::Identities(identities), 0, &Binding::default()).unwrap().unwrap();
        for vector in [[1.0, 0.0], [0.0, 1.0], [1.0, 0.125]] {
            answers.take(Outputs(&named(vec![("o", tensor(&[1, 2], &vector))])), None).unwrap();
        }
        let Evidence::Retrieval { ranked, .. } = answers.finish().unwrap() else { panic!("rankings") };
        ranked.chunks(retrieval::KEPT).map(|row| row[..2].to_vec()).collect::<Vec<_>>()
    };
    assert_eq!(find(None), [vec![2, 1], vec![2, 0], vec![0, 1]]);
    assert_eq!(find(Some(1)), [vec![1, 0]]);
}

#[test]
fn embeddings_of_two_sizes_and_answers_that_are_no_numbers_are_told() {
    let identities = Identities { of: vec![1, 1], queries: None };
    let mut answers = Answers::new(Truth::Identities(identities), 0, &Binding::default()).unwrap().unwrap();
    answers.take(Outputs(&named(vec![("o", tensor(&[1, 2], &[1.0, 0.0]))])), None).unwrap();
    assert!(matches!(
        answers.take(Outputs(&named(vec![("o", tensor(&[1, 3], &[1.0; 3]))])), None),
        Err(AnswerError::Shape { .. })
    ));
    let mut answers = Answers::new(Truth::Values(vec![1.0]), 0, &Binding::default()).unwrap().unwrap();
    let error = answers.take(Outputs(&named(vec![("o", tensor(&[1], &[f32::NAN]))])), None).unwrap_err();
    assert_eq!(error.to_string(), "output \"o\" holds NaN, which is no answer");
    assert!(matches!(
        answers.take(Outputs(&named(vec![("o", tensor(&[2], &[1.0, 2.0]))])), None),
        Err(AnswerError::Shape { .. })
    ));
}
