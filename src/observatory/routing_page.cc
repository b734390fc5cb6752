// SPDX-License-Identifier: Apache-2.0
// The page carries its data as JSON in script elements that no browser executes. There "<" is the
// only character that could end one, so it is written as an escape.
#include "base/error.h"
#include "observatory/page_script.h"
#include "observatory/routing_report.h"
#include "report/page.h"

namespace mixtral::observatory {
namespace {

std::string DataElement(std::string_view id, const Json& data) {
  std::string text;
  for (const char c : data.Dump()) {
    if (c == '<')
      text += "\\u003c";
    else
      text += c;
  }
  return fmt::format("<script type='application/json' id='{}'>{}</script>\n", id, text);
}

}  // namespace

std::string RoutingPage(const Json& report, const Json& texts) {
  const std::string path = report.At("model").At("path").AsString();
  std::string page =
      report::PageHead("Routing of " + path.substr(path.find_last_of('/') + 1), path, kPageStyle);
  page += kPageBody;
  page += DataElement("report", report) + DataElement("texts", texts) +
          DataElement("paper", PaperRouting());
  page += "<script>";
  page += kPageScript;
  page += "</script>\n";
  return page + report::PageEnd();
}

}  // namespace mixtral::observatory
