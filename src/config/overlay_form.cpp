// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/overlay_form.h"

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

namespace plyfs::config {

namespace {

constexpr std::string_view kOptions[] = {"lowerdir", "lowerdir+", "datadir+", "upperdir",
                                         "workdir"};

// The parts of `text` between colons, without escapes.
std::vector<std::string> split_layers(std::string_view text) {
    std::vector<std::string> layers(1);
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == ':') {
            layers.emplace_back();
            continue;
        }
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        layers.back() += text[i];
    }
    return layers;
}

std::string unescaped(std::string_view text) {
    std::string out;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] == '\\' && i + 1 < text.size()) ++i;
        out += text[i];
    }
    return out;
}

class OverlayFormReader {
public:
    OverlayFormReader(const Location& where, Draft& draft) : where_(where), draft_(draft) {}

    ConfigErrors run(std::span<const Option> options) {
        for (const Option& option : options)
            if (is_overlay_option(option.key)) read(option);
        if (errors_.empty()) check_set();
        if (errors_.empty()) hand_over();
        return std::move(errors_);
    }

private:
    struct Directory {
        std::string path;
        Location where;
    };

    Location at_key(std::string_view key) const {
        Location place = where_;
        place.key = key;
        return place;
    }
    void complain(const Location& where, std::string reason, std::string hint = "") {
        errors_.push_back({where, std::move(reason), std::move(hint)});
    }

    void read(const Option& option) {
        const Location where = at_key(option.written);
        if (option.key == "datadir+")
            complain(where, "layers that hold only data are not supported", "use lowerdir");
        else if (!option.value || option.value->empty())
            complain(where, "needs a value", option.written + "=DIRECTORY");
        else if (option.value->find('\0') != std::string::npos)
            complain(where, "a path cannot hold a NUL byte");
        else if (option.key == "lowerdir")
            read_layers(option.raw, where);
        else if (option.key == "lowerdir+")
            lower_.push_back(Directory{unescaped(option.raw), where});
        else if (option.key == "upperdir")
            upper_ = Directory{unescaped(option.raw), where};
        else
            work_ = Directory{unescaped(option.raw), where};
    }

    void read_layers(std::string_view text, const Location& where) {
        lower_.clear();
        for (std::string& path : split_layers(text)) lower_.push_back({std::move(path), where});
        const auto empty = std::ranges::find(lower_, "", &Directory::path);
        if (empty == lower_.end()) return;
        if (empty != lower_.begin() && empty + 1 != lower_.end())
            complain(where, "layers that hold only data (`::`) are not supported",
                     "join layers by a single `:`");
        else
            complain(where, "has an empty path", "join layers by `:`; `\\:` is a colon in a path");
    }

    void check_set() {
        if (lower_.empty())
            complain(at_key("lowerdir"), "is missing", "lowerdir=TOP:...:BOTTOM");
        else if (upper_ && !work_)
            complain(at_key("workdir"), "is missing",
                     "a writable mount needs an empty directory beside upperdir");
        else if (work_ && !upper_)
            draft_.warnings.push_back(warning_text(work_->where, "has no use without upperdir"));
    }

    void hand_over() {
        draft_.overlay_form = true;
        draft_.branches.clear();
        if (upper_) {
            BranchPattern upper{upper_->path, false, BranchMode::ReadWrite, {}, upper_->where};
            upper.work_directory = work_->path;
            draft_.branches.push_back(std::move(upper));
        }
        for (const Directory& lower : lower_)
            draft_.branches.push_back({lower.path, false, BranchMode::ReadOnly, {}, lower.where});
        draft_.origins.insert_or_assign("branches", at_key("lowerdir"));
    }

    const Location& where_;
    Draft& draft_;
    std::vector<Directory> lower_;
    std::optional<Directory> upper_;
    std::optional<Directory> work_;
    ConfigErrors errors_;
};

}  // namespace

std::span<const std::string_view> overlay_options() {
    return kOptions;
}

bool is_overlay_option(std::string_view option) {
    return std::ranges::find(kOptions, option) != std::end(kOptions);
}

bool is_overlay_form(std::span<const Option> options) {
    return std::ranges::any_of(options,
                               [](const Option& option) { return is_overlay_option(option.key); });
}

ConfigErrors read_overlay_form(std::span<const Option> options, const Location& where,
                               Draft& draft) {
    return OverlayFormReader(where, draft).run(options);
}

}  // namespace plyfs::config
