// SPDX-License-Identifier: GPL-2.0-or-later
#include "format/redirect.h"

#include <algorithm>

namespace plyfs::format {
namespace {

Result<void> add_component(Redirect& redirect, std::string_view text) {
    std::string component(text);
    TRY(Name::from(component));
    redirect.components.push_back(std::move(component));
    return {};
}

}  // namespace

Result<Redirect> parse_redirect(std::string_view value) {
    Redirect redirect;
    redirect.absolute = value.starts_with('/');
    if (!redirect.absolute) {
        TRY(add_component(redirect, value));
        return redirect;
    }
    // Each component is preceded by its separator.
    while (!value.empty()) {
        value.remove_prefix(1);
        const std::size_t size = std::min(value.find('/'), value.size());
        TRY(add_component(redirect, value.substr(0, size)));
        value.remove_prefix(size);
    }
    return redirect;
}

Result<std::string> encode(const Redirect& redirect, std::size_t limit) {
    std::string value;
    for (const std::string& component : redirect.components) {
        if (redirect.absolute) value += '/';
        value += component;
    }
    if (value.size() > limit) return fail(ENAMETOOLONG);
    return value;
}

Redirect relative_redirect(Name name) {
    return {.absolute = false, .components = {name.string()}};
}

Result<std::optional<Redirect>> read_redirect(int object, const MarkRules& rules) {
    const auto value = TRY(read_mark(object, Mark::Redirect, rules));
    if (!value) return std::nullopt;
    return TRY(parse_redirect(*value));
}

Result<void> write_redirect(int object, const MarkFormat& format, const Redirect& redirect,
                            std::size_t limit) {
    return write_mark(object, Mark::Redirect, format, TRY(encode(redirect, limit)));
}

}  // namespace plyfs::format
