//! Bytes of text cut into segments in a second: prose in several scripts, and inputs meant to stall. The hostile ones run
//! at two sizes, whose throughput must agree: what is not linear shows there.

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use ishowtts::text::{Limits, Reader, foreign_letter, segment, segment_for};

const LIMITS: Limits = Limits { first_chars: 80, max_chars: 300 };
const PROSE_BYTES: usize = 1 << 20;
const HOSTILE_BYTES: [usize; 2] = [1 << 19, 1 << 21];

const ENGLISH: &str = "\
When the rain had finally stopped, we went out into the garden, where everything was green again. Dr. Smith said that \
it had not been so wet since 1998; nobody believed him. \"Why should we?\" asked Mrs. Jones. The barometer stood at \
29.92 inches at 9:30 a.m., and the ferry to the island was late, as it is on most days of the year! We waited. Then, \
without a word to anyone, the captain of the old vessel turned round and walked back to the harbour.\n\n";
const CHINESE: &str = "\
今天天气很好，我们一起去公园散步吧。你觉得怎么样？他说：“我没有时间，明天再去吧！”于是我们决定留在家里，看了一部关于\
北京历史的纪录片，大家都觉得非常有意思。晚上我们做了饺子，一边吃一边聊天，一直到很晚才睡觉。\n";
const RUSSIAN: &str = "\
Когда дождь наконец закончился, мы вышли в сад, где всё снова было зелёным. Никто ему не поверил! А почему? Потому что \
он часто шутил, и т.д. Потом капитан старого судна повернулся и пошёл обратно в гавань.\n";
const HINDI: &str = "जब बारिश रुकी, तब हम बगीचे में गए, जहाँ सब कुछ फिर से हरा था। क्या आप भी आएँगे? हाँ, मैं कल सुबह आऊँगा।\n";
const ARABIC: &str =
    "عندما توقف المطر، خرجنا إلى الحديقة حيث كان كل شيء أخضر. هل ستأتي غدا؟ نعم، سأكون هناك في الصباح.\n";
const THAI: &str = "เมื่อฝนหยุดตก เราก็ออกไปที่สวน ทุกอย่างกลับมาเขียวอีกครั้ง คุณจะมาไหม ใช่ ฉันจะมาพรุ่งนี้เช้า\n";
const LINKS: &str = "\
The docs are at https://www.example.com/a/b/c?x=1&y=2#top, the code is at github.com/example/project/blob/main/a.rs; see \
(https://example.org/0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef) for the rest.\n";
const JAPANESE: &str =
    "雨がやっと止んだので、私たちは庭に出ました。「どうしてですか？」と彼女は聞きました。カタカナもあります。\n";
const CHAT: &str =
    "lol that was so good 😂😂😂\nbrb in 5 min\n@user123 check https://a.b/c?d=e.f pls!!!\nGG everyone 👏🏽\n";

fn repeat(unit: &str, bytes: usize) -> String {
    unit.repeat(bytes.div_ceil(unit.len()))
}

fn prose(criterion: &mut Criterion) {
    let mixed = [ENGLISH, CHINESE, RUSSIAN, HINDI, ARABIC, THAI, JAPANESE, CHAT].concat();
    let corpora = [
        ("english", ENGLISH),
        ("chinese", CHINESE),
        ("russian", RUSSIAN),
        ("hindi", HINDI),
        ("arabic", ARABIC),
        ("thai", THAI),
        ("japanese", JAPANESE),
        ("chat", CHAT),
        ("mixed", &mixed),
    ];
    let mut group = criterion.benchmark_group("prose");
    group.sample_size(20);
    for (name, unit) in corpora {
        let text = repeat(unit, PROSE_BYTES);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| segment(&text, LIMITS)));
    }
    // As for engines that read links: what holds none must cost no more.
    let reader = Reader { links: true, ..Reader::default() };
    for (name, unit) in [("english_reader", ENGLISH), ("links_reader", LINKS)] {
        let text = repeat(unit, PROSE_BYTES);
        group.throughput(Throughput::Bytes(text.len() as u64));
        group.bench_function(name, |bencher| bencher.iter(|| segment_for(&text, LIMITS, &reader)));
    }
    group.finish();
}

fn one_request(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("request");
    group.throughput(Throughput::Bytes(ENGLISH.len() as u64));
    group.bench_function("paragraph", |bencher| bencher.iter(|| segment(ENGLISH, LIMITS)));
    let scripts = ["Latn".to_string()];
    group.bench_function("foreign_letter", |bencher| bencher.iter(|| foreign_letter(ENGLISH, &scripts)));
    group.finish();
}

fn hostile(criterion: &mut Criterion) {
    let units = [
        ("marks", "\u{301}"),
        ("base_and_marks", "a\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}"),
        ("letters", "a"),
        ("cyrillic_letters", "я"),
        ("digits", "7"),
        ("han_letters", "好"),
        ("thai_letters", "ภาษาไทย"),
        ("kana", "カ"),
        ("jamo", "\u{1100}"),
        ("conjuncts", "क्"),
        ("dots", "."),
        ("spaced_dots", ". "),
        ("quotes", "\""),
        ("full_stops_and_quotes", ".\"\""),
        ("newlines", "\n"),
        ("lower_case_lines", "a\n"),
        ("spaces", " "),
        ("dotted_letters", "a."),
        ("dotted_capitals", "A. "),
        ("abbreviations", "Dr. "),
        ("questions", "?A"),
        ("addresses", "/?A"),
        ("links", "https://"),
        ("hosts", "www.-"),
        ("paths", "a.com/"),
        ("commas_after_stop", ". ,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,,"),
        ("commas", ","),
        ("spaced_commas", "a, "),
        ("brackets_after_stop", "a.(((((((("),
        ("dashes", "—"),
        ("alternating_scripts", "aя好ก"),
        ("joined_emoji", "👩\u{200d}"),
        ("flags", "🇩"),
        ("zero_width", "a\u{200b}"),
        ("right_to_left", "\u{202e}a\u{202c} "),
        ("nul", "\0"),
        ("no_break_spaces", "a\u{a0}\u{a0}"),
        ("long_line", "the quick brown fox jumps over the lazy dog "),
    ];
    let mut group = criterion.benchmark_group("hostile");
    group.sample_size(10);
    let reader = Reader { links: true, ..Reader::default() };
    for (name, unit) in units {
        for bytes in HOSTILE_BYTES {
            let text = repeat(unit, bytes);
            group.throughput(Throughput::Bytes(text.len() as u64));
            group.bench_with_input(BenchmarkId::new(name, bytes), &text, |bencher, text| {
                bencher.iter(|| segment_for(text, LIMITS, &reader));
            });
        }
    }
    group.finish();
}

criterion_group!(benches, prose, one_request, hostile);
criterion_main!(benches);
