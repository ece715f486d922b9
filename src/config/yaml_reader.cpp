// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/yaml_reader.h"

#include <algorithm>
#include <map>

#include <fmt/format.h>

#include "config/branch_expansion.h"
#include "config/setting_kinds.h"
#include "config/settings.h"
#include "config/suggestion.h"
#include "config/units.h"
#include "config/yaml_document.h"

namespace plyfs::config {

namespace {

// A file that is something else altogether should not fill the terminal.
constexpr std::size_t kMostErrors = 20;

std::string_view kind_of(const YAML::Node& node) {
    if (node.IsMap()) return "a mapping";
    if (node.IsSequence()) return "a list";
    if (node.IsNull()) return "empty";
    return "a single value";
}

// Walks one document along the table of settings. The depth is the table's, not the document's, so
// that aliases cannot multiply the work.
class Reader {
public:
    Reader(std::string source, std::string directory, Draft& draft)
        : source_(std::move(source)), directory_(std::move(directory)), draft_(draft) {}

    void read_document(const YAML::Node& root) {
        if (root.IsNull()) return;
        if (!root.IsMap()) {
            complain(locate(root.Mark(), ""), fmt::format("the document is {}", kind_of(root)),
                     "it must be a mapping with a key `branches`");
            return;
        }
        read_section(root, "");
    }

    ConfigErrors take_errors() { return std::move(errors_); }

private:
    Location locate(const YAML::Mark& mark, std::string key) const {
        return at_mark({source_, directory_, 0, 0, std::move(key)}, mark);
    }

    void complain(Location where, std::string reason, std::string hint = "") {
        if (errors_.size() < kMostErrors)
            errors_.push_back({std::move(where), std::move(reason), std::move(hint)});
    }
    void complain(const Location& where, Complaint complaint) {
        complain(where, std::move(complaint.reason), std::move(complaint.hint));
    }

    // Calls visit(name, value, location) for each pair whose key is a name not seen before.
    template <typename Visit>
    void for_each_pair(const YAML::Node& mapping, const std::string& prefix, Visit visit) {
        std::map<std::string, unsigned> first_lines;
        for (const auto& pair : mapping) {
            if (errors_.size() == kMostErrors) return;
            if (!pair.first.IsScalar()) {
                complain(locate(pair.first.Mark(), prefix),
                         fmt::format("a key is {}", kind_of(pair.first)), "keys are plain words");
                continue;
            }
            const std::string& name = pair.first.Scalar();
            const Location where = locate(
                pair.first.Mark(), prefix.empty() ? name : fmt::format("{}.{}", prefix, name));
            const auto [first, is_new] = first_lines.try_emplace(name, where.line);
            if (is_new)
                visit(name, pair.second, where);
            else
                complain(where, "the key is given twice",
                         fmt::format("first on line {}", first->second));
        }
    }

    void read_section(const YAML::Node& mapping, const std::string& section) {
        for_each_pair(mapping, section,
                      [&](const std::string& name, const YAML::Node& value, const Location& where) {
                          if (section.empty() && read_structure(name, value, where)) return;
                          // The table joins nested keys by dots: a key must not pass for a path
                          // in it, nor an empty one for the document, which may hold itself.
                          if (name.empty() || name.find('.') != std::string::npos)
                              complain(where, "unknown key", why_not_nested(name, where.key));
                          else if (const Setting* setting = find_setting(where.key))
                              read_setting(*setting, value, where);
                          else if (!keys_below(where.key).empty())
                              read_subsection(value, where);
                          else
                              complain(where, "unknown key",
                                       did_you_mean(name, keys_below(section)));
                      });
    }

    static std::string why_not_nested(const std::string& name, const std::string& key) {
        if (name.empty()) return "the key is empty";
        const std::size_t dot = key.rfind('.');
        if (find_setting(key) == nullptr) return "";
        return fmt::format("`{}` belongs below `{}`", key.substr(dot + 1), key.substr(0, dot));
    }

    void read_subsection(const YAML::Node& value, const Location& where) {
        if (value.IsMap()) {
            read_section(value, where.key);
        } else if (const Setting* mode = find_setting(where.key + ".mode");
                   mode != nullptr && value.IsScalar()) {
            read_setting(*mode, value, where);
        } else if (!value.IsNull()) {  // a section whose keys are all commented out
            complain(where, fmt::format("is {}", kind_of(value)), "it must be a mapping of keys");
        }
    }

    void read_setting(const Setting& setting, const YAML::Node& value, const Location& where) {
        if (const std::string* text = scalar(value, where)) {
            auto applied = apply_setting(setting, draft_, *text, where);
            if (!applied) complain(where, std::move(applied.error()));
        }
    }

    // Null after having complained.
    const std::string* scalar(const YAML::Node& value, const Location& where) {
        if (value.IsScalar()) return &value.Scalar();
        if (value.IsNull())
            complain(where, "has no value", "give one or remove the key");
        else
            complain(where, fmt::format("is {}", kind_of(value)), "it must be a single value");
        return nullptr;
    }

    // The keys at the top that are not settings. False: `name` is none of them.
    bool read_structure(const std::string& name, const YAML::Node& value, const Location& where) {
        if (name == "version") {
            const std::string* text = scalar(value, where);
            if (text != nullptr && *text != "1")
                complain(where, fmt::format("version `{}` is not known", *text),
                         "this plyfs reads version 1");
        } else if (name == "mountpoint") {
            if (const std::string* text = path(value, where)) {
                draft_.options.mountpoint = absolute_path(*text, directory_);
                draft_.origins.insert_or_assign("mountpoint", where);
            }
        } else if (name == "branches") {
            read_branches(value, where);
        } else {
            return false;
        }
        return true;
    }

    const std::string* path(const YAML::Node& value, const Location& where) {
        const std::string* text = scalar(value, where);
        if (text == nullptr) return nullptr;
        if (!text->empty() && text->find('\0') == std::string::npos) return text;
        complain(where, text->empty() ? "is an empty path" : "a path cannot hold a NUL byte");
        return nullptr;
    }

    void read_branches(const YAML::Node& value, const Location& where) {
        draft_.branches.clear();
        draft_.origins.insert_or_assign("branches", where);
        if (value.IsScalar()) {
            parse_list(value.Scalar(), where);
        } else if (value.IsSequence()) {
            unsigned index = 0;
            for (const YAML::Node& item : value) {
                if (errors_.size() == kMostErrors) return;
                const Location place = locate(item.Mark(), fmt::format("branches[{}]", index++));
                if (item.IsMap())
                    read_branch(item, place);
                else if (const std::string* text = scalar(item, place))
                    parse_list(*text, place);
            }
        } else {
            complain(where, fmt::format("is {}", kind_of(value)), "it must be a list of branches");
        }
    }

    void parse_list(const std::string& text, const Location& where) {
        ConfigErrors errors;
        parse_branch_list(text, where, draft_.branches, errors);
        for (ConfigError& error : errors)
            complain(error.where, std::move(error.reason), std::move(error.hint));
    }

    void read_branch(const YAML::Node& mapping, const Location& place) {
        BranchPattern branch;
        branch.where = place;
        bool named_twice = false;
        bool read_well = true;
        for_each_pair(mapping, place.key,
                      [&](const std::string& name, const YAML::Node& value, const Location& where) {
                          if (name == "path" || name == "glob") {
                              named_twice = !branch.path.empty();
                              const std::string* text = path(value, where);
                              read_well = read_well && text != nullptr;
                              if (text != nullptr) branch.path = *text;
                              branch.glob = name == "glob";
                          } else {
                              read_branch_property(name, value, where, branch);
                          }
                      });
        if (named_twice)
            complain(place, "has both `path` and `glob`", "keep one of them");
        else if (!branch.path.empty())
            draft_.branches.push_back(std::move(branch));
        else if (read_well)
            complain(place, "has neither `path` nor `glob`", "");
    }

    void read_branch_property(const std::string& name, const YAML::Node& value,
                              const Location& where, BranchPattern& branch) {
        if (name == "work") {
            if (const std::string* text = path(value, where)) branch.work_directory = *text;
            return;
        }
        if (std::ranges::find(branch_keys(), name) == branch_keys().end()) {
            complain(where, "unknown key", did_you_mean(name, branch_keys()));
            return;
        }
        const std::string* text = scalar(value, where);
        if (text == nullptr) return;
        if (name == "readers") {
            const auto readers = parse_choice(*text, readers_names());
            if (readers)
                branch.readers = *readers;
            else
                complain(where, readers.error());
        } else if (name == "mode") {
            auto mode = parse_branch_mode(*text);
            if (mode)
                branch.mode = *mode;
            else
                complain(where, {mode.error().reason, "rw, nc or ro"});
        } else {
            auto bytes = parse_size(*text);
            if (bytes)
                branch.min_free_space = *bytes;
            else
                complain(where, std::move(bytes.error()));
        }
    }

    std::string source_;
    std::string directory_;
    Draft& draft_;
    ConfigErrors errors_;
};

}  // namespace

ConfigErrors read_yaml(std::string_view text, const std::string& source,
                       const std::string& directory, Draft& draft) {
    auto document = parse_document(text, {source, directory, 0, 0, ""});
    if (!document) return {std::move(document.error())};
    Reader reader(source, directory, draft);
    reader.read_document(*document);
    return reader.take_errors();
}

}  // namespace plyfs::config
