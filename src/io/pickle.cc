// SPDX-License-Identifier: Apache-2.0
// A stack machine over the opcodes that torch.save writes (pickle.h). Values are nodes of one list,
// referred to by index, so nothing recurses and shared values cost nothing.
#include "io/pickle.h"

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <unordered_map>

#include "base/error.h"
#include "base/strings.h"
#include "tensor/float_bits.h"

namespace mixtral {
namespace {

constexpr size_t kMaxPickleBytes = size_t{16} << 20;
constexpr size_t kMaxNodes = size_t{1} << 20;
constexpr size_t kMaxTensors = size_t{1} << 18;
constexpr size_t kMaxRank = 4;

enum class Kind : uint8_t {
  kNone,
  kBool,
  kInt,
  kFloat,
  kText,
  kTuple,
  kList,
  kDict,
  kGlobal,
  kStorage,
  kTensor
};

struct Node {
  Kind kind = Kind::kNone;
  int64_t number = 0;          // bool, int
  std::string_view text = {};  // text; of a global "module name"
  std::vector<uint32_t> items =
      {};  // tuple, list, dict (key, value, ...), storage, tensor: arguments
};

/// Python names that may occur. They are compared, nothing is imported.
constexpr std::string_view kOrderedDict = "collections\nOrderedDict";
constexpr std::string_view kRebuildTensor = "torch._utils\n_rebuild_tensor_v2";
constexpr std::string_view kRebuildParameter = "torch._utils\n_rebuild_parameter";
constexpr std::array<std::string_view, 12> kStorages = {
    "torch\nFloatStorage", "torch\nHalfStorage",    "torch\nBFloat16Storage",
    "torch\nIntStorage",   "torch\nLongStorage",    "torch\nDoubleStorage",
    "torch\nShortStorage", "torch\nCharStorage",    "torch\nByteStorage",
    "torch\nBoolStorage",  "torch\nUntypedStorage", "torch\nComplexFloatStorage"};

class Machine {
 public:
  Machine(std::span<const std::byte> bytes, std::string_view where)
      : bytes_(bytes), where_(where) {}

  std::vector<PickledTensor> Run() {
    if (bytes_.size() > kMaxPickleBytes)
      Throw(ErrorCode::kUnsupported, "pickle: expected at most {} bytes, found {}, in {}",
            kMaxPickleBytes, bytes_.size(), where_);
    if (Byte() != 0x80) Fail("the protocol opcode first", "another");
    const int protocol = Byte();
    if (protocol != 2)
      Throw(ErrorCode::kUnsupported, "pickle: expected protocol 2, found {}, in {}", protocol,
            where_);
    while (Step()) {
    }
    if (stack_.size() != 1 || !marks_.empty()) Fail("one value at the end", "more or none");
    if (position_ != bytes_.size()) Fail("the end of the pickle after STOP", "more bytes");
    return Tensors(nodes_[stack_.back()]);
  }

 private:
  [[noreturn]] void Fail(std::string_view expected, std::string_view found) const {
    Throw(ErrorCode::kCorrupt, "pickle: expected {}, found {}, at byte {}, in {}", expected, found,
          position_, where_);
  }
  [[noreturn]] void RefuseName(std::string_view name) const {
    std::string dotted(name.substr(0, 256));
    std::replace(dotted.begin(), dotted.end(), '\n', '.');
    Refuse("names that tensors need (nothing else is run)", Printable(dotted));
  }
  [[noreturn]] void Refuse(std::string_view expected, std::string_view found) const {
    Throw(ErrorCode::kUnsupported, "pickle: expected {}, found {}, at byte {}, in {}", expected,
          found, position_, where_);
  }

  // ---- bytes ----
  std::span<const std::byte> Take(size_t n) {
    if (n > bytes_.size() - position_) Fail(fmt::format("{} more bytes", n), "the end");
    position_ += n;
    return bytes_.subspan(position_ - n, n);
  }
  template <class T>
  T Number() {
    return LoadUnaligned<T>(Take(sizeof(T)).data());
  }
  int Byte() { return Number<uint8_t>(); }
  std::string_view Text(size_t n) {
    const auto taken = Take(n);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  /// Two lines, as GLOBAL has them, without the last line feed.
  std::string_view TwoLines() {
    const size_t start = position_;
    for (int lines = 0; lines < 2;)
      if (Byte() == '\n') ++lines;
    return {reinterpret_cast<const char*>(bytes_.data()) + start, position_ - start - 1};
  }

  // ---- stack ----
  uint32_t Push(Node node) {
    if (nodes_.size() >= kMaxNodes) Refuse(fmt::format("at most {} values", kMaxNodes), "more");
    nodes_.push_back(std::move(node));
    stack_.push_back(static_cast<uint32_t>(nodes_.size() - 1));
    return stack_.back();
  }
  void PushInt(int64_t value) { Push({.kind = Kind::kInt, .number = value}); }
  size_t Floor() const { return marks_.empty() ? 0 : marks_.back(); }
  uint32_t Pop() {
    if (stack_.size() <= Floor()) Fail("a value on the stack", "none");
    const uint32_t top = stack_.back();
    stack_.pop_back();
    return top;
  }
  uint32_t Top() const {
    if (stack_.size() <= Floor()) Fail("a value on the stack", "none");
    return stack_.back();
  }
  /// The values since the last MARK.
  std::vector<uint32_t> PopToMark() {
    if (marks_.empty()) Fail("a mark on the stack", "none");
    const auto first = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
    std::vector<uint32_t> items(first, stack_.end());
    stack_.erase(first, stack_.end());
    marks_.pop_back();
    return items;
  }
  void PushTuple(size_t n) {
    std::vector<uint32_t> items(n);
    for (size_t i = n; i-- > 0;) items[i] = Pop();
    Push({.kind = Kind::kTuple, .items = std::move(items)});
  }
  void Remember(uint32_t key) { memo_[key] = Top(); }
  void Recall(uint32_t key) {
    const auto found = memo_.find(key);
    if (found == memo_.end()) Fail("a value that was remembered", fmt::format("key {}", key));
    if (stack_.size() >= bytes_.size()) Fail("a smaller stack", "more values than bytes");
    stack_.push_back(found->second);
  }

  void AddItems(Kind kind, const std::vector<uint32_t>& items) {
    Node& container = nodes_[Top()];
    if (container.kind != kind || (kind == Kind::kDict && items.size() % 2 != 0))
      Fail(kind == Kind::kDict ? "pairs for a dict" : "items for a list", "something else");
    container.items.insert(container.items.end(), items.begin(), items.end());
  }

  // ---- opcodes ----
  /// False after STOP.
  bool Step() {
    const int opcode = Byte();
    switch (opcode) {
      case '.':
        return false;
      case '(':
        marks_.push_back(stack_.size());
        return true;
      case 'N':
        Push({});
        return true;
      case 0x88:
      case 0x89:
        Push({.kind = Kind::kBool, .number = opcode == 0x88 ? 1 : 0});
        return true;
      case 'J':
        PushInt(Number<int32_t>());
        return true;
      case 'K':
        PushInt(Byte());
        return true;
      case 'M':
        PushInt(Number<uint16_t>());
        return true;
      case 0x8A:
        PushLong();
        return true;
      case 'G':
        Take(sizeof(double));
        Push({.kind = Kind::kFloat});
        return true;
      case 'X':
        PushText();
        return true;
      default:
        StepContainer(opcode);
        return true;
    }
  }

  void StepContainer(int opcode) {
    switch (opcode) {
      case '}':
        Push({.kind = Kind::kDict});
        return;
      case ']':
        Push({.kind = Kind::kList});
        return;
      case ')':
        return PushTuple(0);
      case 0x85:
      case 0x86:
      case 0x87:
        return PushTuple(static_cast<size_t>(opcode - 0x84));
      case 't': {
        std::vector<uint32_t> items = PopToMark();
        Push({.kind = Kind::kTuple, .items = std::move(items)});
        return;
      }
      case 'u':
        return AddItems(Kind::kDict, PopToMark());
      case 's': {
        const uint32_t value = Pop(), key = Pop();
        return AddItems(Kind::kDict, {key, value});
      }
      case 'e':
        return AddItems(Kind::kList, PopToMark());
      case 'a':
        return AddItems(Kind::kList, {Pop()});
      default:
        return StepObject(opcode);
    }
  }

  void StepObject(int opcode) {
    switch (opcode) {
      case 'q':
        return Remember(static_cast<uint32_t>(Byte()));
      case 'r':
        return Remember(Number<uint32_t>());
      case 'h':
        return Recall(static_cast<uint32_t>(Byte()));
      case 'j':
        return Recall(Number<uint32_t>());
      case 'c':
        return PushGlobal();
      case 'R':
        return Reduce();
      case 'Q':
        return PushStorage();
      case 'b':  // an OrderedDict's _metadata: versions of modules, of no use here
        Pop();
        if (nodes_[Top()].kind != Kind::kDict) Refuse("a state for a dict alone", "another");
        return;
      default:
        Refuse("the opcodes of a state dict of tensors", fmt::format("opcode 0x{:02X}", opcode));
    }
  }

  void PushLong() {
    const int n = Byte();
    if (n > 8) Refuse("integers of at most 8 bytes", fmt::format("{}", n));
    const auto digits = Take(static_cast<size_t>(n));
    uint64_t value = n > 0 && (static_cast<uint8_t>(digits.back()) & 0x80) != 0 ? ~uint64_t{0} : 0;
    for (size_t i = digits.size(); i-- > 0;) value = value << 8 | static_cast<uint8_t>(digits[i]);
    PushInt(static_cast<int64_t>(value));
  }

  void PushText() {
    const std::string_view text = Text(Number<uint32_t>());
    if (!IsValidUtf8(text)) Fail("valid UTF-8", "other bytes");
    Push({.kind = Kind::kText, .text = text});
  }

  void PushGlobal() {
    const std::string_view name = TwoLines();
    bool known = name == kOrderedDict || name == kRebuildTensor || name == kRebuildParameter;
    for (const std::string_view storage : kStorages) known |= name == storage;
    if (!known) RefuseName(name);
    Push({.kind = Kind::kGlobal, .text = name});
  }

  /// Persistent id: ("storage", class, key, device, elements).
  void PushStorage() {
    const Node& tuple = nodes_[Pop()];
    const std::vector<uint32_t> id = tuple.items;
    if (tuple.kind != Kind::kTuple || id.size() != 5 || nodes_[id[0]].text != "storage" ||
        nodes_[id[1]].kind != Kind::kGlobal || !nodes_[id[1]].text.ends_with("Storage") ||
        nodes_[id[2]].kind != Kind::kText || nodes_[id[4]].kind != Kind::kInt)
      Fail("('storage', class, key, device, elements)", "another persistent id");
    Push({.kind = Kind::kStorage, .items = id});
  }

  void Reduce() {
    const uint32_t arguments = Pop(), callable = Pop();
    const Node& tuple = nodes_[arguments];
    if (tuple.kind != Kind::kTuple || nodes_[callable].kind != Kind::kGlobal)
      Fail("a name and a tuple to build from", "something else");
    const std::string_view name = nodes_[callable].text;
    const std::vector<uint32_t> items = tuple.items;
    if (name == kOrderedDict) {
      if (!items.empty()) Refuse("an OrderedDict made empty", "arguments");
      Push({.kind = Kind::kDict});
    } else if (name == kRebuildTensor) {
      // (storage, offset, size, stride, requires_grad, hooks[, metadata])
      if (items.size() < 6 || nodes_[items[0]].kind != Kind::kStorage ||
          nodes_[items[1]].kind != Kind::kInt || nodes_[items[2]].kind != Kind::kTuple ||
          nodes_[items[3]].kind != Kind::kTuple)
        Fail("(storage, offset, size, stride, ...) for a tensor", "other arguments");
      Push({.kind = Kind::kTensor, .items = items});
    } else if (name == kRebuildParameter) {
      if (items.empty() || nodes_[items[0]].kind != Kind::kTensor)
        Fail("a tensor for a parameter", "something else");
      stack_.push_back(items[0]);
    } else {
      RefuseName(name);
    }
  }

  // ---- result ----
  std::vector<int64_t> Ints(const Node& tuple) const {
    std::vector<int64_t> values;
    if (tuple.items.size() > kMaxRank)
      Refuse(fmt::format("at most {} dimensions", kMaxRank), fmt::format("{}", tuple.items.size()));
    for (const uint32_t item : tuple.items) {
      if (nodes_[item].kind != Kind::kInt) Fail("integers in a shape", "something else");
      values.push_back(nodes_[item].number);
    }
    return values;
  }

  std::vector<PickledTensor> Tensors(const Node& root) const {
    if (root.kind != Kind::kDict) Refuse("a dict of tensors", "something else");
    if (root.items.size() / 2 > kMaxTensors)
      Refuse(fmt::format("at most {} tensors", kMaxTensors),
             fmt::format("{}", root.items.size() / 2));
    std::vector<PickledTensor> tensors;
    for (size_t i = 0; i < root.items.size(); i += 2) {
      const Node& key = nodes_[root.items[i]];
      const Node& value = nodes_[root.items[i + 1]];
      if (key.kind != Kind::kText || value.kind != Kind::kTensor)
        Refuse("a dict of name -> tensor",
               key.kind == Kind::kText ? Printable(key.text) : "another key");
      const std::vector<uint32_t>& storage = nodes_[value.items[0]].items;
      PickledTensor tensor;
      tensor.name = key.text;
      tensor.storage_class = nodes_[storage[1]].text.substr(std::string_view("torch\n").size());
      tensor.storage_key = nodes_[storage[2]].text;
      tensor.storage_elements = nodes_[storage[4]].number;
      tensor.offset = nodes_[value.items[1]].number;
      tensor.shape = Ints(nodes_[value.items[2]]);
      tensor.strides = Ints(nodes_[value.items[3]]);
      if (tensor.shape.size() != tensor.strides.size())
        Fail("as many strides as dimensions", fmt::format("{}", tensor.strides.size()));
      tensors.push_back(std::move(tensor));
    }
    return tensors;
  }

  std::span<const std::byte> bytes_;
  std::string_view where_;
  size_t position_ = 0;
  std::vector<Node> nodes_;
  std::vector<uint32_t> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint32_t, uint32_t> memo_;
};

}  // namespace

std::vector<PickledTensor> ParsePickledStateDict(std::span<const std::byte> bytes,
                                                 std::string_view where) {
  return Machine(bytes, where).Run();
}

}  // namespace mixtral
