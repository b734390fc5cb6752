// SPDX-License-Identifier: Apache-2.0
// Scores of the npm package vader-sentiment, a port of an earlier release of the authors' program.
//
// usage: node score.mjs PACKAGE_DIR LEXICON [FILE...]    texts, one a line; without a file: made sentences
//
// Prints lines of "verdict TAB negative TAB neutral TAB positive TAB compound TAB text". The verdict is "same" where the
// port's rules say what ours say, else the rule that differs.
import { readFileSync } from "node:fs";
import vm from "node:vm";

const [packageDir, lexiconFile, ...files] = process.argv.slice(2);
const lexicon = {};
for (const line of readFileSync(lexiconFile, "utf8").split("\n")) {
  const [token, valence] = line.split("\t");
  if (valence !== undefined) lexicon[token] = Number(valence);
}
const source = readFileSync(`${packageDir}/src/vaderSentiment.js`, "utf8")
  .replace(/^const LEXICON = .*$/m, "")
  .replace(/^export /gm, "");
const port = vm.runInNewContext(`${source}; ({ SentimentIntensityAnalyzer, SentiText, NEGATE })`, { LEXICON: lexicon });

const laterBoosters = new Set(["considerable", "enormous", "exceptional", "extreme", "frackin", "fracking", "fuckin",
  "fuggin", "fugging", "incredible", "major", "occasional", "scarce", "slight", "marginal", "total", "tremendous", "utter"]);
const caseMatters = new Set([...port.NEGATE, "but", "so", "this", "kind", "sort", "just", "of", "enough", "the", "shit",
  "bomb", "bad", "ass", "yeah", "right", "kiss", "death"]);
const otherIdioms = /cut the mustard|hand to mouth|bus stop|to die for|beating heart|broken heart|\bdoubt\b|never (so|this)/;

const punctuation = /^[!-/:-@[-`{-~]+|[!-/:-@[-`{-~]+$/g;
function words(text) {
  return text.split(/\s+/).filter((token) => token).map((token) => {
    const bare = token.replace(punctuation, "");
    return [...bare].length <= 2 ? token : bare;
  });
}

function verdict(text) {
  const ours = words(text), lower = ours.map((word) => word.toLowerCase());
  if (ours.join("\n") !== new port.SentiText(text).words_and_emoticons.join("\n")) return "words";
  if (lower.some((word) => laterBoosters.has(word))) return "boosters";
  if (lower.includes("no")) return "no";
  if (ours.some((word, i) => word !== lower[i] && (caseMatters.has(lower[i]) || lower[i].includes("n't")))) return "case";
  if (otherIdioms.test(lower.join(" "))) return "idioms";
  return "same";
}

function* madeSentences() {
  let state = 1;  // a small generator of its own: the same sentences everywhere
  const draw = (items) => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return items[(state >>> 16) % items.length];
  };
  const adverbs = ["", "", "very", "really", "so", "barely", "slightly", "kind of", "sort of", "least", "at least",
    "most", "VERY", "utterly", "just enough"];
  const denials = ["", "", "", "not", "never", "isn't", "without", "hardly ever", "nor", "cannot be", "rarely"];
  const feelings = Object.keys(lexicon).filter((word) => /^[a-z]{3,}$/.test(word) && word !== "but");
  const subjects = ["the actor", "her second novel", "a small town", "their bridge", "this song", "the committee"];
  const ends = [".", "!", "!!", "!!!", "?", "??", "???", "", " :)", " lol", "?!?"];
  const clause = () => {
    let feeling = draw(feelings);
    if (draw([0, 0, 0, 0, 1])) feeling = feeling.toUpperCase();
    return [draw(subjects), draw(["is", "was", "seems"]), draw(denials), draw(adverbs), feeling,
      draw(["", "", "indeed", "to everyone", "and " + draw(feelings)])].filter((part) => part).join(" ");
  };
  for (let i = 0; i < 20000; ++i)
    yield clause() + draw(["", "", ", but " + clause(), " but " + clause(), " while " + clause()]) + draw(ends);
}

const texts = files.length ? files.flatMap((file) => readFileSync(file, "utf8").split("\n")) : madeSentences();
for (const text of texts) {
  if (!text.trim()) continue;
  const score = port.SentimentIntensityAnalyzer.polarity_scores(text);
  console.log([verdict(text), score.neg, score.neu, score.pos, score.compound, text].join("\t"));
}
