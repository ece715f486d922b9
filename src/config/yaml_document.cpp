// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/yaml_document.h"

#include <yaml-cpp/eventhandler.h>

#include <sstream>

namespace plyfs::config {

namespace {

// yaml-cpp's time and memory grow with the square of a line such as `a:a:a:`.
constexpr std::size_t kLongestLine = std::size_t{64} << 10;

bool has_line_longer_than(std::size_t limit, std::string_view text) {
    while (text.size() > limit) {
        const std::size_t end = text.substr(0, limit + 1).rfind('\n');
        if (end == std::string_view::npos) return true;
        text.remove_prefix(end + 1);
    }
    return false;
}

// Takes the events of a document and does nothing with them.
class Skipper : public YAML::EventHandler {
public:
    void OnDocumentStart(const YAML::Mark&) override {}
    void OnDocumentEnd() override {}
    void OnNull(const YAML::Mark&, YAML::anchor_t) override {}
    void OnAlias(const YAML::Mark&, YAML::anchor_t) override {}
    void OnScalar(const YAML::Mark&, const std::string&, YAML::anchor_t,
                  const std::string&) override {}
    void OnSequenceStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                         YAML::EmitterStyle::value) override {}
    void OnSequenceEnd() override {}
    void OnMapStart(const YAML::Mark&, const std::string&, YAML::anchor_t,
                    YAML::EmitterStyle::value) override {}
    void OnMapEnd() override {}
};

// Whether something follows the first document. Not YAML::LoadAll: up to yaml-cpp 0.7 at least it
// never returns where a document begins with a stray `,` or `]`.
bool goes_on(const std::string& text) {
    std::istringstream stream(text);
    YAML::Parser parser(stream);
    Skipper skipper;
    return parser.HandleNextDocument(skipper) && parser.HandleNextDocument(skipper);
}

}  // namespace

Location at_mark(Location where, const YAML::Mark& mark) {
    if (!mark.is_null()) {
        where.line = static_cast<unsigned>(mark.line) + 1;
        where.column = static_cast<unsigned>(mark.column) + 1;
    }
    return where;
}

std::expected<YAML::Node, ConfigError> parse_document(std::string_view text,
                                                      const Location& whole) {
    const auto refuse = [&](const char* reason, const char* hint) {
        return std::unexpected(ConfigError{whole, reason, hint});
    };
    if (text.size() > kLargestFile)
        return refuse("the file is larger than 1 MiB", "is it a plyfs configuration?");
    if (has_line_longer_than(kLongestLine, text))
        return refuse("a line is longer than 64 KiB", "is it a plyfs configuration?");
    // The library's barrier: it throws on malformed text.
    try {
        const std::string copy(text);
        if (goes_on(copy))
            return refuse("the file goes on after its first document", "keep one document");
        return YAML::Load(copy);
    } catch (const YAML::Exception& exception) {
        return std::unexpected(
            ConfigError{at_mark(whole, exception.mark), "not valid YAML: " + exception.msg, ""});
    }
}

}  // namespace plyfs::config
