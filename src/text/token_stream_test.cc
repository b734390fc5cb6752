// SPDX-License-Identifier: Apache-2.0
// Streams against whole decoding, and stop strings wherever token boundaries fall.
#include "text/token_stream.h"

#include <gtest/gtest.h>

#include "base/rng.h"
#include "base/strings.h"
#include "text/test_vocabulary.h"

namespace mixtral {
namespace {

using test::SmallTokenizer;
using Strings = std::vector<std::string>;

/// What comes out push by push, then at Finish, with '|' between.
std::string Stream(TokenStream& stream, const std::vector<TokenId>& ids) {
  std::string out;
  for (const TokenId id : ids) out += stream.Push(id) + "|";
  return out + stream.Finish();
}

/// text as byte ids, so that every character is a token boundary.
std::vector<TokenId> Bytes(std::string_view text) {
  std::vector<TokenId> ids;
  for (const char c : text) ids.push_back(3 + static_cast<uint8_t>(c));
  return ids;
}

std::string Stopped(const Tokenizer& tokenizer, std::string_view text, Strings stop,
                    std::string* found = nullptr) {
  TokenStream stream(&tokenizer, StreamStart::kNewText, std::move(stop));
  std::string out;
  for (const TokenId id : Bytes(text)) out += stream.Push(id);
  out += stream.Finish();
  EXPECT_EQ(stream.stopped(), !stream.stop_string().empty());
  if (found != nullptr) *found = stream.stop_string();
  return out;
}

TEST(TokenStream, GivesTextAsSoonAsItIsCertain) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream stream(&tokenizer, StreamStart::kNewText);
  EXPECT_EQ(Stream(stream, {263, 263, 264, 2}), "hello| hello| a||");
}

TEST(TokenStream, LooksForStopsFromATokenOn) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream stream(&tokenizer, StreamStart::kNewText, {"ab"});
  std::string out;
  for (const TokenId id : Bytes("xabya")) out += stream.Push(id, LookForStops::kNo);
  EXPECT_EQ(out, "xabya") << "nothing is held back";
  for (const TokenId id : Bytes("bxabz")) out += stream.Push(id);
  EXPECT_EQ(out, "xabyabx") << "a stop string that begins before does not count";
  EXPECT_TRUE(stream.stopped());
}

TEST(TokenStream, KeepsALeadingSpaceWhenContinuing) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream stream(&tokenizer, StreamStart::kContinuation);
  EXPECT_EQ(Stream(stream, {263}), " hello|");
}

TEST(TokenStream, NeverCutsACharacter) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream whole(&tokenizer, StreamStart::kNewText);
  EXPECT_EQ(Stream(whole, Bytes("\xF0\x9F\x98\x80z")), "|||\xF0\x9F\x98\x80|z|");
  TokenStream broken(&tokenizer, StreamStart::kNewText);
  EXPECT_EQ(Stream(broken, Bytes("\xF0\x9F\xC3")), "||\xEF\xBF\xBD\xEF\xBF\xBD|\xEF\xBF\xBD");
  TokenStream by_piece(&tokenizer, StreamStart::kNewText);
  EXPECT_EQ(Stream(by_piece, {3 + 0xC3, 263, 3 + 0xA9}), "|\xEF\xBF\xBD hello|\xEF\xBF\xBD|");
}

TEST(TokenStream, EqualsDecode) {
  const Tokenizer tokenizer = SmallTokenizer({{"<|x|>", PieceType::kUserDefined}});
  const CounterRng rng(3);
  for (uint64_t i = 0; i < 4000; ++i) {
    std::vector<TokenId> ids(rng.Bits(64 * i) % 12);
    for (size_t j = 0; j < ids.size(); ++j) {
      const uint64_t bits = rng.Bits(64 * i + j + 1);
      const auto byte = static_cast<TokenId>(3 + 0x80 + bits % 0x78);
      const auto any = static_cast<TokenId>(bits % static_cast<uint64_t>(tokenizer.vocab_size()));
      ids[j] = bits >> 63 != 0 ? byte : any;
    }
    // A stop string that never comes holds text back, but loses nothing.
    const Strings stop = i % 2 == 0 ? Strings{} : Strings{"\xEF\xBF\xBD\xEF\xBF\xBD never"};
    TokenStream stream(&tokenizer, StreamStart::kNewText, stop);
    std::string text;
    for (const TokenId id : ids) {
      const std::string part = stream.Push(id);
      ASSERT_TRUE(IsValidUtf8(part));
      text += part;
    }
    ASSERT_EQ(text + stream.Finish(), tokenizer.Decode(ids)) << test::Show(tokenizer, ids);
  }
}

TEST(TokenStream, StopsAcrossTokens) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream stream(&tokenizer, StreamStart::kNewText, {"lo he"});
  EXPECT_EQ(Stream(stream, {263, 263, 263}), "hel|||");
  EXPECT_TRUE(stream.stopped());
  EXPECT_EQ(stream.stop_string(), "lo he");
  EXPECT_EQ(stream.Push(263), "");
}

TEST(TokenStream, HoldsBackOnlyWhatMayBeAStop) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream stream(&tokenizer, StreamStart::kNewText, {"ello!", "lob"});
  EXPECT_EQ(Stream(stream, {263, 271, 263}), "h|elloa| h|ello");
  EXPECT_FALSE(stream.stopped());
  TokenStream inside(&tokenizer, StreamStart::kNewText, {"ell"});
  EXPECT_EQ(Stream(inside, {263, 263}), "h||");
}

TEST(TokenStream, TheStopCompleteFirstWins) {
  const Tokenizer tokenizer = SmallTokenizer();
  std::string found;
  EXPECT_EQ(Stopped(tokenizer, "xabcd", {"abcd", "bc"}, &found), "xa");
  EXPECT_EQ(found, "bc");
  EXPECT_EQ(Stopped(tokenizer, "xabcd", {"bc", "abc", "c"}, &found), "x");  // of those, the longest
  EXPECT_EQ(found, "abc");
  EXPECT_EQ(Stopped(tokenizer, "xabcd", {"b", "abd"}, &found), "xa");
  EXPECT_EQ(found, "b");
  // The same in one token: where tokens end makes no difference.
  TokenStream stream(&tokenizer, StreamStart::kNewText, {"hello", "ll"});
  EXPECT_EQ(Stream(stream, {263}), "he|");
  EXPECT_EQ(stream.stop_string(), "ll");
}

TEST(TokenStream, FindsStopsThatRepeatThemselves) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(Stopped(tokenizer, "aabaabaaab", {"aabaaa"}), "aab");
  EXPECT_EQ(Stopped(tokenizer, "\n\n\nx", {"\n\nx"}), "\n");
  EXPECT_EQ(Stopped(tokenizer, "abababac", {"ababac"}), "ab");
  EXPECT_EQ(Stopped(tokenizer, "abab", {"ababac"}), "abab");
}

TEST(TokenStream, FindsStopsOfManyBytes) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(Stopped(tokenizer, "a\xC3\xA8\xC3\xA9z", {"\xC3\xA9"}), "a\xC3\xA8");
  EXPECT_EQ(Stopped(tokenizer, "a\xFFz", {"\xEF\xBF\xBD"}), "a");
}

TEST(TokenStream, IgnoresStopsThatCannotBe) {
  const Tokenizer tokenizer = SmallTokenizer();
  EXPECT_EQ(Stopped(tokenizer, "a\xC3\xA9z", {"", "\xC3", "\xA9z"}), "a\xC3\xA9z");
}

TEST(TokenStream, ControlIdsAreNoText) {
  const Tokenizer tokenizer = SmallTokenizer();
  TokenStream stream(&tokenizer, StreamStart::kNewText, {"</s>"});
  EXPECT_EQ(Stream(stream, {1, 263, 2}), "|hello||");
  EXPECT_FALSE(stream.stopped());
}

TEST(StopMatcher, AgreesWithPlainSearch) {
  const CounterRng rng(5);
  for (uint64_t i = 0; i < 3000; ++i) {
    const auto word = [&](uint64_t which, size_t length) {
      std::string out;
      for (size_t j = 0; j < length; ++j) {
        out += static_cast<char>('a' + rng.Bits(i * 1000 + which * 100 + j) % 2);
      }
      return out;
    };
    Strings stops;
    for (uint64_t s = 0; s < 3; ++s) stops.push_back(word(s, 1 + rng.Bits(i * 1000 + s + 900) % 6));
    const std::string text = word(5, 24);
    // Plain: the smallest end, then the longest.
    size_t end = std::string::npos, begin = std::string::npos;
    for (const std::string& stop : stops) {
      const size_t at = text.find(stop);
      if (at == std::string::npos) continue;
      if (at + stop.size() < end || (at + stop.size() == end && at < begin)) {
        begin = at;
        end = at + stop.size();
      }
    }
    StopMatcher matcher(stops);
    size_t n_read = 0;
    bool found = false;
    while (!found && n_read < text.size()) found = matcher.Push(text[n_read++]);
    ASSERT_EQ(found, end != std::string::npos);
    if (!found) continue;
    ASSERT_EQ(n_read, end);
    ASSERT_EQ(matcher.found(), text.substr(begin, end - begin));
    ASSERT_EQ(matcher.held(), end - begin);
  }
}

}  // namespace
}  // namespace mixtral
