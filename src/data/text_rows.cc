// SPDX-License-Identifier: Apache-2.0
// The text is taken as it is: no normalisation, no stripping.
#include "base/error.h"
#include "base/json.h"
#include "base/strings.h"
#include "data/row_encoders.h"

namespace mixtral::data {

RowEncoder MakeTextEncoder(const Tokenizer* tokenizer, std::string text_field) {
  return [tokenizer, text_field = std::move(text_field)](const RawRow& raw, FileKind kind) {
    EncodedRow encoded;
    encoded.text = kind == FileKind::kText
                       ? raw.bytes
                       : Json::Parse(raw.bytes, "the row").At(text_field).AsString();
    if (!IsValidUtf8(encoded.text)) Throw(ErrorCode::kCorrupt, "expected UTF-8 text");
    encoded.split_key = encoded.text;
    if (encoded.text.find_first_not_of(" \t\r\n") == std::string::npos) return encoded;
    Document document;
    document.tokens = tokenizer->Encode(encoded.text, AddBos::kYes);
    if (tokenizer->eos_id() >= 0) document.tokens.push_back(tokenizer->eos_id());
    encoded.documents.push_back(std::move(document));
    return encoded;
  };
}

}  // namespace mixtral::data
