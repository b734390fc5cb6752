// SPDX-License-Identifier: Apache-2.0
// Tests of JSON parsing (hostile bytes above all), reading and building.
#include "base/json.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

// The message of the Error that fn throws, with its code in front.
template <class Fn>
std::string Message(Fn&& fn) {
  try {
    fn();
  } catch (const Error& error) {
    return std::string(ErrorCodeName(error.code())) + ": " + error.what();
  }
  return "nothing was thrown";
}

std::string ParseMessage(std::string_view text) {
  return Message([&] { Json::Parse(text, "x.json"); });
}

TEST(JsonParseTest, ReadsEveryKind) {
  const Json json =
      Json::Parse(R"({"n":null,"b":true,"i":-3,"u":7,"f":1.5e3,"s":"\u00e9","a":[1,[]]})", "x");
  EXPECT_TRUE(json.At("n").IsNull());
  EXPECT_TRUE(json.At("b").AsBool());
  EXPECT_EQ(json.At("i").AsInt(), -3);
  EXPECT_EQ(json.At("u").AsInt(), 7);
  EXPECT_EQ(json.At("f").AsDouble(), 1500.0);
  EXPECT_EQ(json.At("i").AsDouble(), -3.0);
  EXPECT_EQ(json.At("s").AsString(), "\xC3\xA9");
  EXPECT_EQ(json.At("a").Size(), 2u);
  EXPECT_EQ(json.At("a").At(1).Size(), 0u);
  EXPECT_EQ(json.Keys(), (std::vector<std::string>{"n", "b", "i", "u", "f", "s", "a"}));
  EXPECT_TRUE(Json::Parse(" 3 ", "x").IsInteger());
}

TEST(JsonParseTest, SaysWhereAndWhatWentWrong) {
  EXPECT_EQ(ParseMessage("{\"a\": 1,}"),
            "corrupt: invalid JSON: syntax error while parsing object key - unexpected '}'; "
            "expected string literal at byte 9, in x.json");
}

TEST(JsonParseTest, RefusesWhatIsNotJson) {
  for (const std::string_view text : {"",
                                      " ",
                                      "{",
                                      "[",
                                      "[1",
                                      "nul",
                                      "1 2",
                                      "{\"a\" 1}",
                                      "{a:1}",
                                      "[01]",
                                      "[1e999]",
                                      "[NaN]",
                                      "'a'",
                                      "[1]x",
                                      "// c\n1",
                                      "\"\xFF\"",
                                      "\"\xED\xA0\x80\"",
                                      "\"\\ud800\"",
                                      "\"a\nb\"",
                                      "[-]",
                                      "[1.]",
                                      "\xFF\xFE"}) {
    EXPECT_TRUE(ParseMessage(text).starts_with("corrupt: invalid JSON: ")) << text;
  }
  EXPECT_TRUE(ParseMessage(std::string_view("1\0", 2)).starts_with("corrupt: "));
}

TEST(JsonParseTest, ErrorsStayOneShortPrintableLine) {
  // nlohmann repeats the token that it stopped in, which has no end here.
  for (const std::string_view filler : {"a", "\x7F", "\xC2\x9B"}) {
    std::string text = "[\"";
    for (int i = 0; i < 10'000; ++i) text += filler;
    const std::string message = ParseMessage(text);
    EXPECT_LT(message.size(), 400u);
    EXPECT_EQ(message, Printable(message, 400));
  }
}

TEST(JsonParseTest, DepthIsLimitedTo64) {
  EXPECT_EQ(ParseMessage(std::string(64, '[') + std::string(64, ']')), "nothing was thrown");
  EXPECT_NE(ParseMessage(std::string(65, '[') + std::string(65, ']')).find("deeper than 64"),
            std::string::npos);
  EXPECT_NE(ParseMessage(std::string(8'000'000, '[')).find("deeper than 64"), std::string::npos);
  std::string objects;
  for (int i = 0; i < 100'000; ++i) objects += "{\"a\":";
  EXPECT_NE(ParseMessage(objects).find("deeper than 64"), std::string::npos);
}

TEST(JsonParseTest, RefusesAKeyThatOccursTwice) {
  EXPECT_NE(ParseMessage(R"({"a":1,"b":2,"a":3})").find("key \"a\" occurs twice"),
            std::string::npos);
  EXPECT_NE(ParseMessage(R"([{"x":{"a":1,"\u0061":2}}])").find("key \"a\" occurs twice"),
            std::string::npos);
  EXPECT_EQ(ParseMessage(R"([{"a":1},{"a":1}])"), "nothing was thrown");
}

TEST(JsonParseTest, LargeObjectsAreNotQuadratic) {  // hangs when keys are searched one by one
  constexpr int kKeys = 300'000;
  std::string text = "{";
  for (int i = 0; i < kKeys; ++i) {
    text += (i > 0 ? ",\"k" : "\"k") + std::to_string(i) + "\":" + std::to_string(i);
  }
  const Json json = Json::Parse(text + "}", "x");
  EXPECT_EQ(json.Keys().size(), static_cast<size_t>(kKeys));
  int64_t sum = 0;
  for (int i = 0; i < kKeys; ++i) sum += json.At("k" + std::to_string(i)).AsInt();
  EXPECT_EQ(sum, int64_t{kKeys} * (kKeys - 1) / 2);
  EXPECT_FALSE(json.Find("k-1").has_value());
}

TEST(JsonReadTest, ErrorsNamePathExpectedFoundAndDocument) {
  const Json json = Json::Parse(R"({"a":{"list":[1,"two",2.5]}})", "c.json");
  const Json list = json.At("a").At("list");
  EXPECT_EQ(list.At(1).path(), "$.a.list[1]");
  EXPECT_EQ(Message([&] { list.At(1).AsInt(); }),
            "corrupt: $.a.list[1]: expected an integer, found the string \"two\", in c.json");
  EXPECT_EQ(Message([&] { list.At(2).AsInt(0); }),
            "corrupt: $.a.list[2]: expected an integer of at least 0, found 2.5, in c.json");
  EXPECT_EQ(Message([&] { list.At(0).AsInt(2, 9); }),
            "corrupt: $.a.list[0]: expected an integer from 2 to 9, found 1, in c.json");
  EXPECT_EQ(Message([&] { json.At("b"); }),
            "corrupt: $.b: expected a value, found no such key, in c.json");
  EXPECT_EQ(Message([&] { list.At(3); }),
            "corrupt: $.a.list: expected an array of more than 3 elements, found an array, in "
            "c.json");
  EXPECT_EQ(Message([&] { json.At(0); }),
            "corrupt: $: expected an array, found an object, in c.json");
  EXPECT_EQ(Message([&] { list.At("x"); }),
            "corrupt: $.a.list: expected an object, found an array, in c.json");
  EXPECT_EQ(Message([&] { list.AsBool(); }),
            "corrupt: $.a.list: expected true or false, found an array, in c.json");
  EXPECT_EQ(Message([&] { list.At(0).AsString(); }),
            "corrupt: $.a.list[0]: expected a string, found 1, in c.json");
  EXPECT_EQ(Message([&] { list.At(1).AsDouble(); }),
            "corrupt: $.a.list[1]: expected a number, found the string \"two\", in c.json");
  EXPECT_EQ(Message([&] { Json().Size(); }),
            "corrupt: $: expected an array or an object, found null");
}

TEST(JsonReadTest, IntegersKeepTheirWholeRange) {
  const Json json =
      Json::Parse("[9223372036854775807,-9223372036854775808,9223372036854775808]", "");
  EXPECT_EQ(json.At(size_t{0}).AsInt(), INT64_MAX);
  EXPECT_EQ(json.At(1).AsInt(), INT64_MIN);
  EXPECT_THROW(json.At(2).AsInt(), Error);
  EXPECT_THROW(Json::Parse("[1.0]", "").At(size_t{0}).AsInt(), Error);
}

TEST(JsonReadTest, FindTreatsNullAsAbsent) {
  const Json json = Json::Parse(R"({"a":null,"b":0})", "x");
  EXPECT_FALSE(json.Find("a").has_value());
  EXPECT_FALSE(json.Find("c").has_value());
  ASSERT_TRUE(json.Find("b").has_value());
  EXPECT_EQ(json.Find("b")->path(), "$.b");
}

TEST(JsonReadTest, IntArraysComeOutWhole) {
  std::string text = "[0";
  for (int i = 1; i < 200'000; ++i) text += "," + std::to_string(i);
  const std::vector<int64_t> values = Json::Parse(text + "]", "x").AsIntArray();
  ASSERT_EQ(values.size(), 200'000u);
  EXPECT_EQ(values[199'999], 199'999);
  EXPECT_EQ(Message([] { Json::Parse("[1,true]", "x").AsIntArray(); }),
            "corrupt: $[1]: expected an integer, found true, in x");
}

TEST(JsonReadTest, MembersOutliveTheirDocument) {
  Json member;
  {
    const Json json = Json::Parse(R"({"a":{"b":[1,2]}})", "x");
    member = json.At("a").At("b");
  }
  EXPECT_EQ(member.AsIntArray(), (std::vector<int64_t>{1, 2}));
}

TEST(JsonBuildTest, WritesKeysInOrderAndReplaces) {
  Json json = Json::Object();
  json.Set("z", 1).Set("a", true).Set("s", "q\"\n").Set("n", Json()).Set("f", 0.5);
  json.Set("z", Json::Array().Push(2).Push(uint64_t{UINT64_MAX}));
  EXPECT_EQ(json.Dump(), R"({"z":[2,18446744073709551615],"a":true,"s":"q\"\n","n":null,"f":0.5})");
  EXPECT_EQ(Json::Array().Push(1).Dump(2), "[\n  1\n]");
}

TEST(JsonBuildTest, CopiesDoNotSeeLaterChanges) {
  Json a = Json::Object();
  a.Set("x", 1);
  Json b = a;
  b.Set("x", 2);
  const Json inner = Json::Parse(R"({"list":[1]})", "x").At("list");
  Json longer = inner;
  longer.Push(2);
  EXPECT_EQ(a.Dump(), R"({"x":1})");
  EXPECT_EQ(b.Dump(), R"({"x":2})");
  EXPECT_EQ(inner.Dump(), "[1]");
  EXPECT_EQ(longer.Dump(), "[1,2]");
}

TEST(JsonBuildTest, ParsedDocumentsCanBeBuiltOn) {  // drops the index of a large object
  std::string text = "{";
  for (int i = 0; i < 100; ++i) text += "\"k" + std::to_string(i) + "\":0,";
  Json json = Json::Parse(text + "\"last\":0}", "x");
  json.Set("new", 1).Set("k7", 7);
  EXPECT_EQ(json.At("new").AsInt(), 1);
  EXPECT_EQ(json.At("k7").AsInt(), 7);
  EXPECT_EQ(json.Size(), 102u);
}

TEST(JsonBuildTest, LargeObjectsAreNotQuadratic) {
  Json json = Json::Object();
  for (int i = 0; i < 100'000; ++i) json.Set("tensor." + std::to_string(i), i);
  json.Set("tensor.5", -5);
  EXPECT_EQ(json.Size(), 100'000u);
  EXPECT_EQ(json.At("tensor.5").AsInt(), -5);
}

TEST(JsonBuildTest, DumpReplacesInvalidUtf8) {
  EXPECT_EQ(Json("a\xFFz").Dump(), "\"a\xEF\xBF\xBDz\"");
}

TEST(JsonBuildTest, MovedFromValueIsNull) {
  Json json = Json::Array();
  const Json other = std::move(json);
  EXPECT_TRUE(other.IsArray());
  EXPECT_TRUE(json.IsNull());  // NOLINT(bugprone-use-after-move): what is left is defined
}

}  // namespace
}  // namespace mixtral
