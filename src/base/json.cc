// SPDX-License-Identifier: Apache-2.0
// base/json.h over nlohmann/json, which no other file includes. Values share an immutable parsed
// document and point into it; parsing builds the document from nlohmann's event parser, so that
// depth and duplicate keys are checked while it grows and no exception of nlohmann's is ever
// thrown.
#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/check.h"
#include "base/error.h"
#include "base/strings.h"

namespace mixtral {
namespace {

using Node = nlohmann::ordered_json;
using Members = Node::object_t::Container;  // nlohmann's ordered object is a vector of pairs

constexpr size_t kMaxDepth = 64;

// Finding a key in nlohmann's ordered object takes time in proportion to its size, which would make
// a header of a million keys quadratic to read or build: larger objects get a hash index.
constexpr size_t kIndexedSize = 32;

struct Document {
  Node root;
  std::string where;  // "" when built, not parsed
  // Parsed: the members of every large object. The keys are views into root, so building on the
  // document drops the indexes.
  std::unordered_map<const Node*, std::unordered_map<std::string_view, const Node*>> indexes;
  // Built: the keys of root, once it is a large object.
  std::unordered_set<std::string> built_keys;
};

const Members& MembersOf(const Node& object) {
  return object.get_ref<const Node::object_t&>();  // a vector of pairs underneath
}

Members& MembersOf(Node& object) { return object.get_ref<Node::object_t&>(); }

void IndexLargeObjects(const Node& node, Document& document) {
  if (node.is_object()) {
    const Members& members = MembersOf(node);
    if (members.size() >= kIndexedSize) {
      auto& index = document.indexes[&node];
      index.reserve(members.size());
      for (const auto& [key, value] : members) index.emplace(key, &value);
    }
    for (const auto& [key, value] : members) IndexLargeObjects(value, document);
  } else if (node.is_array()) {
    for (const Node& element : node) {
      if (element.is_structured()) IndexLargeObjects(element, document);
    }
  }
}

/// Receives nlohmann's parse events (its names and signatures) and builds the document. Every event
/// returns whether to go on; the first problem is kept in error().
class Builder {
 public:
  explicit Builder(Node& root) : root_(root) {}
  const std::string& error() const { return error_; }

  bool null() { return Add(nullptr); }
  bool boolean(bool value) { return Add(value); }
  bool number_integer(int64_t value) { return Add(value); }
  bool number_unsigned(uint64_t value) { return Add(value); }
  bool number_float(double value, const std::string& /*text*/) { return Add(value); }
  bool string(std::string& value) { return Add(std::move(value)); }
  bool binary(Node::binary_t& /*value*/) { return Stop("binary value"); }
  bool start_object(size_t /*size*/) { return Open(Node::object()); }
  bool start_array(size_t /*size*/) { return Open(Node::array()); }

  bool key(std::string& key) {
    Members& members = MembersOf(*open_.back());
    members.emplace_back(std::move(key), nullptr);
    member_ = &members.back().second;
    return true;
  }

  bool end_object() {
    std::vector<std::string_view> keys;
    for (const auto& member : MembersOf(*open_.back())) keys.push_back(member.first);
    std::sort(keys.begin(), keys.end());
    const auto twice = std::adjacent_find(keys.begin(), keys.end());
    if (twice != keys.end()) {
      return Stop(fmt::format("key \"{}\" occurs twice in one object", Printable(*twice)));
    }
    open_.pop_back();
    return true;
  }

  bool end_array() {
    open_.pop_back();
    return true;
  }

  bool parse_error(size_t position, const std::string& /*token*/, const std::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 5: syntax error while ..."
    std::string_view what = error.what();
    what.remove_prefix(std::min(what.size(), what.find("] ") + 2));
    if (what.starts_with("parse error at")) {
      what.remove_prefix(std::min(what.size(), what.find(": ") + 2));
    }
    return Stop(fmt::format("{} at byte {}", Printable(what, 200), position));
  }

 private:
  bool Stop(std::string error) {
    error_ = std::move(error);
    return false;
  }

  template <class Value>
  bool Add(Value&& value) {
    Place(Node(std::forward<Value>(value)));
    return true;
  }

  bool Open(Node container) {
    if (open_.size() == kMaxDepth) return Stop(fmt::format("nested deeper than {}", kMaxDepth));
    open_.push_back(Place(std::move(container)));
    return true;
  }

  // Puts a value where the document has got to. The address stays good while the value is open,
  // since what holds it grows only after it is closed.
  Node* Place(Node value) {
    Node* place = &root_;
    if (!open_.empty() && open_.back()->is_array()) {
      auto& elements = open_.back()->get_ref<Node::array_t&>();
      elements.push_back(std::move(value));
      return &elements.back();
    }
    if (!open_.empty()) place = member_;
    *place = std::move(value);
    return place;
  }

  Node& root_;
  std::vector<Node*> open_;  // objects and arrays being read, outermost first
  Node* member_ = nullptr;   // the value of the key just read
  std::string error_;
};

std::string Describe(const Node& node) {
  switch (node.type()) {
    case Node::value_t::null:
      return "null";
    case Node::value_t::boolean:
      return node.get<bool>() ? "true" : "false";
    case Node::value_t::string:
      return fmt::format("the string \"{}\"", Printable(node.get_ref<const std::string&>(), 40));
    case Node::value_t::array:
      return "an array";
    case Node::value_t::object:
      return "an object";
    default:
      return node.dump();  // a number
  }
}

std::optional<int64_t> IntegerOf(const Node& node) {
  if (node.is_number_unsigned()) {
    const uint64_t value = node.get<uint64_t>();
    if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return std::nullopt;
    return static_cast<int64_t>(value);
  }
  if (node.is_number_integer()) return node.get<int64_t>();
  return std::nullopt;
}

const Node* FindMember(const Document& document, const Node& object, std::string_view key) {
  const auto indexed = document.indexes.find(&object);
  if (indexed != document.indexes.end()) {
    const auto found = indexed->second.find(key);
    return found == indexed->second.end() ? nullptr : found->second;
  }
  for (const auto& member : MembersOf(object)) {
    if (member.first == key) return &member.second;
  }
  return nullptr;
}

}  // namespace

struct Json::Impl {
  std::shared_ptr<Document> document;
  const Node* node;  // inside document

  static std::unique_ptr<Impl> Of(Node value) {
    auto document = std::make_shared<Document>();
    document->root = std::move(value);
    const Node* root = &document->root;
    return std::make_unique<Impl>(Impl{std::move(document), root});
  }
  std::unique_ptr<Impl> Member(const Node* member) const {
    return std::make_unique<Impl>(Impl{document, member});
  }
  bool OwnsDocument() const { return document.use_count() == 1 && node == &document->root; }
  static const Node& NodeOf(const Json& json) {
    static const Node kNull;
    return json.impl_ == nullptr ? kNull : *json.impl_->node;
  }
  static Node Take(Json json) {
    if (json.impl_ != nullptr && json.impl_->OwnsDocument()) {
      return std::move(json.impl_->document->root);
    }
    return NodeOf(json);
  }
};

Json Json::Parse(std::string_view text, std::string_view where) {
  // nlohmann takes a zero byte for the end of the text and would not see what follows.
  if (const size_t zero = text.find('\0'); zero != std::string_view::npos) {
    Throw(ErrorCode::kCorrupt, "invalid JSON: zero byte at byte {}, in {}", zero, where);
  }
  auto document = std::make_shared<Document>();
  document->where = where;
  Builder builder(document->root);
  if (!Node::sax_parse(text.begin(), text.end(), &builder)) {
    Throw(ErrorCode::kCorrupt, "invalid JSON: {}, in {}", builder.error(), where);
  }
  IndexLargeObjects(document->root, *document);
  const Node* root = &document->root;
  return Json(std::make_unique<Impl>(Impl{std::move(document), root}), "$");
}

Json Json::Object() { return Json(Impl::Of(Node::object()), "$"); }
Json Json::Array() { return Json(Impl::Of(Node::array()), "$"); }

Json::Json() = default;
Json::Json(bool value) : impl_(Impl::Of(value)) {}
Json::Json(double value) : impl_(Impl::Of(value)) {}
Json::Json(int64_t value) : impl_(Impl::Of(value)) {}
Json::Json(uint64_t value) : impl_(Impl::Of(value)) {}
Json::Json(std::string_view value) : impl_(Impl::Of(std::string(value))) {}
Json::Json(std::unique_ptr<Impl> impl, std::string path)
    : impl_(std::move(impl)), path_(std::move(path)) {}
Json::Json(const Json& other)
    : impl_(other.impl_ ? std::make_unique<Impl>(*other.impl_) : nullptr), path_(other.path_) {}
Json::Json(Json&& other) noexcept = default;
Json& Json::operator=(const Json& other) {
  if (this != &other) *this = Json(other);
  return *this;
}
Json& Json::operator=(Json&& other) noexcept = default;
Json::~Json() = default;

bool Json::IsNull() const { return Impl::NodeOf(*this).is_null(); }
bool Json::IsBool() const { return Impl::NodeOf(*this).is_boolean(); }
bool Json::IsNumber() const { return Impl::NodeOf(*this).is_number(); }
bool Json::IsInteger() const { return Impl::NodeOf(*this).is_number_integer(); }
bool Json::IsString() const { return Impl::NodeOf(*this).is_string(); }
bool Json::IsArray() const { return Impl::NodeOf(*this).is_array(); }
bool Json::IsObject() const { return Impl::NodeOf(*this).is_object(); }

void Json::Fail(std::string_view expected) const {
  const std::string where = impl_ == nullptr ? "" : impl_->document->where;
  Throw(ErrorCode::kCorrupt, "{}: expected {}, found {}{}{}", path_, expected,
        Describe(Impl::NodeOf(*this)), where.empty() ? "" : ", in ", where);
}

bool Json::AsBool() const {
  if (!IsBool()) Fail("true or false");
  return Impl::NodeOf(*this).get<bool>();
}

double Json::AsDouble() const {
  if (!IsNumber()) Fail("a number");
  return Impl::NodeOf(*this).get<double>();
}

int64_t Json::AsInt(int64_t min, int64_t max) const {
  const std::optional<int64_t> value = IntegerOf(Impl::NodeOf(*this));
  if (!value.has_value() || *value < min || *value > max) {
    const bool any = min == std::numeric_limits<int64_t>::min();
    const bool no_limit = max == std::numeric_limits<int64_t>::max();
    Fail(any && no_limit ? "an integer"
         : no_limit      ? fmt::format("an integer of at least {}", min)
                         : fmt::format("an integer from {} to {}", min, max));
  }
  return *value;
}

std::string Json::AsString() const {
  if (!IsString()) Fail("a string");
  return Impl::NodeOf(*this).get<std::string>();
}

size_t Json::Size() const {
  if (!IsArray() && !IsObject()) Fail("an array or an object");
  return Impl::NodeOf(*this).size();
}

Json Json::At(size_t index) const {
  if (!IsArray()) Fail("an array");
  const Node& array = Impl::NodeOf(*this);
  if (index >= array.size()) Fail(fmt::format("an array of more than {} elements", index));
  return Json(impl_->Member(&array[index]), fmt::format("{}[{}]", path_, index));
}

Json Json::At(std::string_view key) const {
  if (!IsObject()) Fail("an object");
  const Node* member = FindMember(*impl_->document, Impl::NodeOf(*this), key);
  std::string path = fmt::format("{}.{}", path_, Printable(key));
  if (member == nullptr) {
    const std::string& where = impl_->document->where;
    Throw(ErrorCode::kCorrupt, "{}: expected a value, found no such key{}{}", path,
          where.empty() ? "" : ", in ", where);
  }
  return Json(impl_->Member(member), std::move(path));
}

std::optional<Json> Json::Find(std::string_view key) const {
  if (!IsObject()) Fail("an object");
  const Node* member = FindMember(*impl_->document, Impl::NodeOf(*this), key);
  if (member == nullptr || member->is_null()) return std::nullopt;
  return Json(impl_->Member(member), fmt::format("{}.{}", path_, Printable(key)));
}

std::vector<std::string> Json::Keys() const {
  if (!IsObject()) Fail("an object");
  std::vector<std::string> keys;
  for (const auto& member : MembersOf(Impl::NodeOf(*this))) keys.push_back(member.first);
  return keys;
}

std::vector<int64_t> Json::AsIntArray() const {
  if (!IsArray()) Fail("an array of integers");
  const Node& array = Impl::NodeOf(*this);
  std::vector<int64_t> values;
  values.reserve(array.size());
  for (const Node& element : array) {
    const std::optional<int64_t> value = IntegerOf(element);
    if (!value.has_value()) At(values.size()).Fail("an integer");
    values.push_back(*value);
  }
  return values;
}

Json::Impl& Json::Own() {
  if (impl_ == nullptr || !impl_->OwnsDocument()) impl_ = Impl::Of(Impl::NodeOf(*this));
  impl_->document->indexes.clear();
  return *impl_;
}

Json& Json::Set(std::string_view key, Json value) {
  Check(IsObject(), "Json::Set on a value that is no object");
  Document& document = *Own().document;
  Members& members = MembersOf(document.root);
  Node node = Impl::Take(std::move(value));
  if (members.size() >= kIndexedSize) {
    auto& keys = document.built_keys;
    if (keys.size() != members.size()) {
      for (const auto& member : members) keys.insert(member.first);
    }
    if (keys.emplace(key).second) {
      members.emplace_back(std::string(key), std::move(node));
      return *this;
    }
  }
  for (auto& member : members) {
    if (member.first == key) {
      member.second = std::move(node);
      return *this;
    }
  }
  members.emplace_back(std::string(key), std::move(node));
  return *this;
}

Json& Json::Push(Json value) {
  Check(IsArray(), "Json::Push on a value that is no array");
  Own().document->root.push_back(Impl::Take(std::move(value)));
  return *this;
}

std::string Json::Dump(int indent) const {
  return Impl::NodeOf(*this).dump(indent < 0 ? -1 : indent, ' ', false,
                                  Node::error_handler_t::replace);
}

}  // namespace mixtral
