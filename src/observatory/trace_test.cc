// SPDX-License-Identifier: Apache-2.0
// The trace format: what is written comes back, whatever is not whole or not possible is refused.
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.h"
#include "base/mapped_file.h"
#include "observatory/test_traces.h"
#include "observatory/trace_file.h"
#include "observatory/trace_recorder.h"

namespace mixtral::observatory {
namespace {

using testing::Sequence;
using testing::SmallInfo;

std::string SmallFile() {
  return EncodeHeader(SmallInfo()) + EncodePiece(7, "the") + EncodePiece(8, "\xff<") +
         EncodeSequence(Sequence("en", {7, 8, 7}, {{0, 1}, {3, 2}, {1, kNoExpert}})) +
         EncodeSequence(Sequence("fr", {9}, {{2, 0}})) + EncodeEnd(2);
}

Trace Parse(const std::string& bytes) {
  return ParseTrace(std::as_bytes(std::span(bytes)), "test");
}

std::string Refusal(const std::string& bytes) {
  try {
    Parse(bytes);
  } catch (const Error& error) {
    return error.what();
  }
  return "accepted";
}

TEST(Trace, ReadsBackWhatWasWritten) {
  const Trace trace = Parse(SmallFile());
  EXPECT_EQ(trace.info.model, "small");
  EXPECT_EQ(trace.info.fingerprint, std::string(64, 'a'));
  EXPECT_EQ(trace.info.n_experts, 4);
  EXPECT_EQ(trace.info.expert_bytes, 1000u);
  EXPECT_EQ(trace.pieces.at(8), "\xff<");
  EXPECT_EQ(DomainsOf(trace), (std::vector<std::string>{"en", "fr"}));
  EXPECT_EQ(TokensOf(trace), 4);
  const TraceSequence& first = trace.sequences[0];
  EXPECT_EQ(first.tokens, (std::vector<TokenId>{7, 8, 7}));
  EXPECT_EQ(trace.Choice(first, 1, 0)[0], 3);
  EXPECT_EQ(trace.Choice(first, 2, 0)[1], kNoExpert);
  EXPECT_EQ(first.weights, (std::vector<uint8_t>{127, 127, 127, 127, 127, 0}));
}

TEST(Trace, EveryCutIsRefused) {
  const std::string file = SmallFile();
  for (size_t n = 0; n < file.size(); ++n)
    EXPECT_NE(Refusal(file.substr(0, n)), "accepted") << n << " bytes";
  EXPECT_NE(Refusal(file + '\0').find("expected no bytes behind it"), std::string::npos);
}

TEST(Trace, ImpossibleContentIsRefusedByName) {
  const auto with = [](const TraceSequence& sequence) {
    return EncodeHeader(SmallInfo()) + EncodeSequence(sequence) + EncodeEnd(1);
  };
  EXPECT_EQ(Refusal(with(Sequence("d", {1}, {{0, 1}}))), "accepted");
  EXPECT_NE(Refusal(with(Sequence("d", {1}, {{0, 4}}))).find("expert: expected 0..3, found 4"),
            std::string::npos);
  EXPECT_NE(Refusal(with(Sequence("d", {1}, {{2, 2}}))).find("found 2 twice"), std::string::npos);
  EXPECT_NE(Refusal(with(Sequence("d", {1}, {{kNoExpert, 1}}))).find("found none at choice 0"),
            std::string::npos);
  EXPECT_NE(Refusal(with(Sequence("d", {100}, {{0, 1}}))).find("token: expected 0..99, found 100"),
            std::string::npos);
  EXPECT_NE(Refusal(with(Sequence("d", {}, {}))).find("expected some, found 0"), std::string::npos);
  EXPECT_NE(
      Refusal(EncodeHeader(SmallInfo()) + EncodePiece(1, "a") + EncodePiece(1, "a") + EncodeEnd(0))
          .find("found two"),
      std::string::npos);
  EXPECT_NE(Refusal(EncodeHeader(SmallInfo()) + EncodeEnd(1)).find("number of sequences"),
            std::string::npos);
  std::string huge = EncodeHeader(SmallInfo()) + EncodeSequence(Sequence("d", {1}, {{0, 1}}));
  huge[huge.size() - 4 - 4 - 1] = '\x7f';  // the last byte of the number of tokens
  EXPECT_NE(Refusal(huge).find("tokens of a sequence: expected at most"), std::string::npos);
}

TEST(Trace, WhatTheFormatCannotHoldIsNotWritten) {
  TraceInfo info = SmallInfo();
  info.n_experts = 256;
  EXPECT_THROW(EncodeHeader(info), Error);
  EXPECT_THROW(EncodeSequence(Sequence(std::string(257, 'd'), {1}, {{0, 1}})), Error);
}

TEST(Trace, TheFileTakesItsNameWhenItIsWhole) {
  const std::string path = ::testing::TempDir() + "routing_trace_test.mxroute";
  std::filesystem::remove(path);
  {
    TraceWriter given_up(path, SmallInfo(), nullptr);
    given_up.Write(Sequence("en", {7}, {{0, 1}}));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
  TraceWriter writer(path, SmallInfo(), nullptr);
  writer.Write(Sequence("en", {7}, {{0, 1}}));
  writer.Write(Sequence("en", {}, {}));
  writer.Finish();
  EXPECT_TRUE(IsTraceFile(path));
  EXPECT_EQ(ReadTrace(path).sequences.size(), 1u);
  std::filesystem::remove(path);
}

TEST(TraceRecorder, KeepsStepsOfASequenceInOrder) {
  TraceRecorder recorder(SmallInfo(2));
  const auto step = [&](std::vector<TokenId> tokens, int64_t start, std::vector<int32_t> ids,
                        std::vector<float> weights) {
    const auto n = static_cast<int>(tokens.size());
    const SeqRange range = {.seq = 0, .first_row = 0, .n_rows = n, .start = start};
    const Batch batch = {.tokens = tokens, .ranges = {&range, 1}, .logit_rows = {}};
    for (int layer = 0; layer < 2; ++layer) {
      const Routing routing = {.expert_ids = {ids.data(), n, 2, 2},
                               .weights = {weights.data(), n, 2, 2},
                               .offsets = {},
                               .slots = {}};
      recorder.OnRouting(layer, batch, routing, {});
      for (int32_t& id : ids) id = id < 0 ? id : 3 - id;
    }
  };
  step({5, 6}, 4, {0, 1, 2, -1}, {0.75F, 0.25F, 1, 0});
  step({7}, 6, {3, 0}, {0.5F, 0.5F});
  const TraceSequence sequence = recorder.Take("d");
  EXPECT_EQ(sequence.first_position, 4);
  EXPECT_EQ(sequence.tokens, (std::vector<TokenId>{5, 6, 7}));
  EXPECT_EQ(sequence.expert_ids,
            (std::vector<uint8_t>{0, 1, 3, 2, 2, kNoExpert, 1, kNoExpert, 3, 0, 0, 3}));
  EXPECT_EQ(sequence.weights,
            (std::vector<uint8_t>{191, 64, 191, 64, 255, 0, 255, 0, 128, 128, 128, 128}));
  EXPECT_TRUE(recorder.Take("d").tokens.empty());
}

}  // namespace
}  // namespace mixtral::observatory
