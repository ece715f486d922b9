// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/branch_pattern.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "config/names.h"
#include "config/units.h"

namespace plyfs::config {

namespace {

// The position of the next `wanted` that no backslash quotes, from `start`; npos where none is.
std::size_t find_unquoted(std::string_view text, char wanted, std::size_t start) {
    for (std::size_t i = start; i < text.size(); ++i) {
        if (text[i] == '\\')
            ++i;
        else if (text[i] == wanted)
            return i;
    }
    return std::string_view::npos;
}

std::size_t find_last_unquoted(std::string_view text, char wanted) {
    std::size_t last = std::string_view::npos;
    for (std::size_t i = find_unquoted(text, wanted, 0); i != std::string_view::npos;
         i = find_unquoted(text, wanted, i + 1))
        last = i;
    return last;
}

// Takes the grammar's own escapes away and leaves those of glob(7).
std::string unescape_grammar(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) {
            ++i;
            if (text[i] != ':' && text[i] != '=') out += '\\';
        }
        out += text[i];
    }
    return out;
}

Parsed<void> parse_suffix(std::string_view suffix, BranchPattern& branch) {
    const std::size_t comma = suffix.find(',');
    const auto mode = parse_branch_mode(suffix.substr(0, comma));
    if (!mode) return std::unexpected(mode.error());
    branch.mode = *mode;
    if (comma == std::string_view::npos) return {};
    const auto size = parse_size(suffix.substr(comma + 1));
    if (!size) return std::unexpected(size.error());
    branch.min_free_space = *size;
    return {};
}

}  // namespace

Parsed<BranchMode> parse_branch_mode(std::string_view text) {
    const std::string word = lower_case(text);
    for (const auto& [name, mode] : branch_mode_names())
        if (word == name) return mode;
    return std::unexpected(Complaint{fmt::format("`{}` is not a branch mode", text),
                                     "RW, NC or RO; a `=` in a path is written `\\=`"});
}

Parsed<BranchPattern> parse_branch(std::string_view text) {
    if (text.find('\0') != std::string_view::npos)
        return std::unexpected(Complaint{"a path cannot hold a NUL byte", ""});

    BranchPattern branch;
    std::string_view path = text;
    const std::size_t equals = find_last_unquoted(text, '=');
    if (equals != std::string_view::npos && text.find('/', equals) == std::string_view::npos) {
        path = text.substr(0, equals);
        if (auto parsed = parse_suffix(text.substr(equals + 1), branch); !parsed)
            return std::unexpected(std::move(parsed.error()));
    }
    if (path.empty())
        return std::unexpected(Complaint{"a branch without a path",
                                         "branches are PATH[=MODE[,MINFREE]] joined by `:`"});
    branch.path = unescape_grammar(path);
    return branch;
}

void parse_branch_list(std::string_view text, const Location& where,
                       std::vector<BranchPattern>& branches, ConfigErrors& errors) {
    for (std::size_t start = 0; start <= text.size();) {
        const std::size_t end = std::min(find_unquoted(text, ':', start), text.size());
        auto branch = parse_branch(text.substr(start, end - start));
        if (branch) {
            branch->where = where;
            branches.push_back(*std::move(branch));
        } else {
            errors.push_back(at(where, std::move(branch.error())));
        }
        start = end + 1;
    }
}

}  // namespace plyfs::config
