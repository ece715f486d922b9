// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/mount_options.h"

#include <algorithm>

#include <fmt/format.h>

#include "config/names.h"
#include "config/option_table.h"
#include "config/overlay_form.h"
#include "config/settings.h"
#include "config/suggestion.h"

namespace plyfs::config {

namespace {

constexpr std::string_view kCategories[] = {"policies.create", "policies.search",
                                            "policies.action"};

void drop_functions_of(const Setting& category, Draft& draft) {
    const auto* found = std::ranges::find(kCategories, category.yaml);
    if (found == std::end(kCategories)) return;
    const auto dropped = static_cast<Category>(found - std::begin(kCategories));
    std::erase_if(draft.options.policies.functions,
                  [&](const auto& entry) { return category_of(entry.first) == dropped; });
}

Parsed<void> apply_setting_option(const Setting& setting, const Option& option,
                                  const Location& where, Draft& draft) {
    if (!option.value && setting.kind != SettingKind::Boolean)
        return std::unexpected(Complaint{"needs a value", fmt::format("{}=VALUE", option.written)});
    auto applied = apply_setting(setting, draft, option.value.value_or("true"), where);
    if (applied) drop_functions_of(setting, draft);
    return applied;
}

Parsed<void> apply_flag(const Flag& flag, const Option& option, const Location& where,
                        Draft& draft) {
    // mount(8) itself writes user=NAME.
    if (option.value && flag.option != "user")
        return std::unexpected(Complaint{"takes no value", ""});
    for (const Flag::Effect& effect : flag.effects) {
        if (effect.yaml.empty()) continue;
        auto applied = apply_setting(*find_setting(effect.yaml), draft,
                                     effect.value ? "true" : "false", where);
        if (!applied) return applied;
    }
    return {};
}

// The setting's value for what was written.
Parsed<std::string> translated(const Alias& alias, const Option& option) {
    if (alias.words.empty()) {
        if (!option.value && find_setting(alias.yaml)->kind != SettingKind::Boolean)
            return std::unexpected(
                Complaint{"needs a value", fmt::format("{}=VALUE", option.written)});
        return option.value.value_or("true");
    }
    const std::string_view written = option.value ? *option.value : std::string_view("on");
    const auto found = std::ranges::find(alias.words, written, &Alias::Word::written);
    if (found == alias.words.end())
        return std::unexpected(
            Complaint{fmt::format("`{}` is not one of its values", written), ""});
    return std::string(found->value);
}

// False: it is none.
Parsed<bool> apply_aliases(const Option& option, const Location& where, Draft& draft) {
    bool known = false;
    for (const Alias& alias : aliases()) {
        if (alias.option != option.key) continue;
        known = true;
        const auto value = translated(alias, option);
        if (!value) return std::unexpected(value.error());
        auto applied = apply_setting(*find_setting(alias.yaml), draft, *value, where);
        if (!applied) return std::unexpected(std::move(applied.error()));
    }
    return known;
}

// Words only: 0 may be a number, a user's or any other.
bool is_turned_off(const Option& option) {
    return option.value &&
           (*option.value == "off" || *option.value == "no" || *option.value == "false");
}

Parsed<void> apply_foreign(const ForeignOption& foreign, const Option& option,
                           const Location& where, Draft& draft) {
    switch (foreign.treatment) {
        case Treatment::Ignored: break;
        case Treatment::Obsolete:
            draft.warnings.push_back(warning_text(where, "has no effect, ignored"));
            break;
        case Treatment::Unsupported:
            if (!is_turned_off(option))
                draft.warnings.push_back(warning_text(where, "not supported, ignored"));
            break;
        case Treatment::Refused:
            return std::unexpected(Complaint{"is not supported", std::string(foreign.reason)});
    }
    return {};
}

Parsed<void> apply_option(const Option& option, const Location& where, bool sloppy, Draft& draft) {
    if (option.key == "config" || is_overlay_option(option.key)) return {};
    if (const Setting* setting = find_option(option.key))
        return apply_setting_option(*setting, option, where, draft);
    if (const Flag* flag = find_flag(option.key)) return apply_flag(*flag, option, where, draft);
    const auto known = apply_aliases(option, where, draft);
    if (!known) return std::unexpected(known.error());
    if (*known) return {};
    if (const ForeignOption* foreign = find_foreign_option(option.key))
        return apply_foreign(*foreign, option, where, draft);
    if (sloppy) {
        draft.warnings.push_back(warning_text(where, "unknown option, ignored"));
        return {};
    }
    return std::unexpected(Complaint{"unknown option", did_you_mean(option.key, known_options())});
}

}  // namespace

ConfigErrors apply_options(std::span<const Option> options, const Location& where, bool sloppy,
                           Draft& draft) {
    ConfigErrors errors;
    for (const Option& option : options) {
        Location place = where;
        place.key = option.written;
        auto applied = apply_option(option, place, sloppy, draft);
        if (!applied) errors.push_back(at(place, std::move(applied.error())));
    }
    return errors;
}

std::vector<std::string_view> known_options() {
    std::vector<std::string_view> names{"config"};
    names.insert(names.end(), overlay_options().begin(), overlay_options().end());
    for (const Alias& alias : aliases()) names.push_back(alias.option);
    for (const Setting& setting : settings())
        if (!setting.option.empty()) names.push_back(setting.option);
    for (const Flag& flag : flags()) names.push_back(flag.option);
    for (const ForeignOption& foreign : foreign_options())
        if (!foreign.option.ends_with('*') && !foreign.option.starts_with('-'))
            names.push_back(foreign.option);
    std::ranges::sort(names);
    const auto repeated = std::ranges::unique(names);
    names.erase(repeated.begin(), repeated.end());
    return names;
}

}  // namespace plyfs::config
