// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/settings.h"

#include <algorithm>

#include "config/branch_expansion.h"
#include "config/setting_kinds.h"

namespace plyfs::config {

namespace {

// Policies of mergerfs that plyfs does not have, so that the message does not call them a slip.
constexpr std::string_view kOtherPolicies[] = {
    "epactl", "eplfs",  "eplup",  "eplus",  "eppfrd", "erofs",   "lup",
    "lus",    "mspmfs", "msplfs", "msplup", "msplus", "msppfrd",
};

Parsed<Policy> parse_policy(std::string_view value) {
    for (const auto& [name, policy] : policy_names())
        if (name == value) return policy;
    if (std::ranges::find(kOtherPolicies, value) != std::end(kOtherPolicies))
        return std::unexpected(Complaint{fmt::format("the policy `{}` is not supported", value),
                                         enumerate(policy_names())});
    return std::unexpected(
        Complaint{fmt::format("`{}` is not a policy", value), enumerate(policy_names())});
}

template <typename Access>
constexpr Setting policy(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Choice,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_policy(value);
                if (!parsed) return std::unexpected(parsed.error());
                Access{}(draft.options) = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                return std::string(name_of(policy_names(), Access{}(options)));
            }};
}

// One that is in force only where it was given.
template <typename Access>
constexpr Setting optional_policy(std::string_view yaml, std::string_view option, Access) {
    return {yaml, option, SettingKind::Choice,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_policy(value);
                if (!parsed) return std::unexpected(parsed.error());
                Access{}(draft.options) = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                const std::optional<Policy>& policy = Access{}(options);
                if (!policy) return std::nullopt;
                return std::string(name_of(policy_names(), *policy));
            }};
}

template <Function function>
constexpr Setting policy_of(std::string_view yaml, std::string_view option) {
    return {yaml, option, SettingKind::Choice,
            [](Draft& draft, std::string_view value, const Location&) -> Parsed<void> {
                const auto parsed = parse_policy(value);
                if (!parsed) return std::unexpected(parsed.error());
                draft.options.policies.functions[function] = *parsed;
                return {};
            },
            [](const Options& options) -> std::optional<std::string> {
                const auto found = options.policies.functions.find(function);
                if (found == options.policies.functions.end()) return std::nullopt;
                return std::string(name_of(policy_names(), found->second));
            }};
}

// mergerfs distinguishes reads and writes; mixed opens of one file then fail with EIO.
Parsed<void> apply_passthrough(Draft& draft, std::string_view value, const Location&) {
    if (value == "ro" || value == "wo")
        return std::unexpected(
            Complaint{fmt::format("passthrough for `{}` alone is refused", value),
                      "a file opened both ways would fail: write on or off"});
    const auto parsed = value == "rw" ? Parsed<bool>(true) : parse_boolean(value);
    if (!parsed)
        return std::unexpected(
            Complaint{fmt::format("`{}` is not one of its values", value), "on (or rw) or off"});
    draft.options.passthrough.mode = *parsed ? PassthroughMode::On : PassthroughMode::Off;
    return {};
}

std::optional<std::string> show_passthrough(const Options& options) {
    return options.passthrough.mode == PassthroughMode::On ? "on" : "off";
}

Parsed<void> apply_xattrs(Draft& draft, std::string_view value, const Location&) {
    if (value == "passthrough") {
        draft.options.xattrs = true;
    } else if (value == "noattr" || value == "nosys") {
        draft.options.xattrs = false;
    } else {
        const auto parsed = parse_boolean(value);
        if (!parsed)
            return std::unexpected(Complaint{parsed.error().reason,
                                             "true (or passthrough) or false (or noattr, nosys)"});
        draft.options.xattrs = *parsed;
    }
    return {};
}

// The daemon's working directory is the root: a relative name would not be found again.
Parsed<void> apply_log_target(Draft& draft, std::string_view value, const Location& where) {
    if (value.find('\0') != std::string_view::npos)
        return std::unexpected(Complaint{"must not hold a NUL byte", ""});
    std::string target(value);
    if (!target.empty() && target != "syslog" && target != "stderr")
        target = absolute_path(target, where.directory);
    draft.options.logging.target = std::move(target);
    return {};
}

constexpr Setting kSettings[] = {
    size("min_free_space", "minfreespace", [](auto& o) -> auto& { return o.min_free_space; }),

    policy("policies.create", "category.create",
           [](auto& o) -> auto& { return o.policies.create; }),
    policy("policies.search", "category.search",
           [](auto& o) -> auto& { return o.policies.search; }),
    policy("policies.action", "category.action",
           [](auto& o) -> auto& { return o.policies.action; }),
    policy_of<Function::Create>("policies.functions.create", "func.create"),
    policy_of<Function::Mkdir>("policies.functions.mkdir", "func.mkdir"),
    policy_of<Function::Mknod>("policies.functions.mknod", "func.mknod"),
    policy_of<Function::Symlink>("policies.functions.symlink", "func.symlink"),
    policy_of<Function::Access>("policies.functions.access", "func.access"),
    policy_of<Function::Getattr>("policies.functions.getattr", "func.getattr"),
    policy_of<Function::Getxattr>("policies.functions.getxattr", "func.getxattr"),
    policy_of<Function::Listxattr>("policies.functions.listxattr", "func.listxattr"),
    policy_of<Function::Open>("policies.functions.open", "func.open"),
    policy_of<Function::Readlink>("policies.functions.readlink", "func.readlink"),
    policy_of<Function::Chmod>("policies.functions.chmod", "func.chmod"),
    policy_of<Function::Chown>("policies.functions.chown", "func.chown"),
    policy_of<Function::Link>("policies.functions.link", "func.link"),
    policy_of<Function::Removexattr>("policies.functions.removexattr", "func.removexattr"),
    policy_of<Function::Rename>("policies.functions.rename", "func.rename"),
    policy_of<Function::Rmdir>("policies.functions.rmdir", "func.rmdir"),
    policy_of<Function::Setxattr>("policies.functions.setxattr", "func.setxattr"),
    policy_of<Function::Truncate>("policies.functions.truncate", "func.truncate"),
    policy_of<Function::Unlink>("policies.functions.unlink", "func.unlink"),
    policy_of<Function::Utimens>("policies.functions.utimens", "func.utimens"),

    optional_policy("copy_up.policy", "copy-up.policy",
                    [](auto& o) -> auto& { return o.copy_up.policy; }),
    boolean("copy_up.fsync", "copy-up.fsync", [](auto& o) -> auto& { return o.copy_up.fsync; }),
    boolean("copy_up.redirect", "copy-up.redirect",
            [](auto& o) -> auto& { return o.copy_up.redirect; }),
    boolean("copy_up.metacopy", "copy-up.metacopy",
            [](auto& o) -> auto& { return o.copy_up.metacopy; }),
    boolean("copy_up.index", "copy-up.index", [](auto& o) -> auto& { return o.copy_up.index; }),
    choice<whiteout_form_names>("copy_up.whiteouts", "copy-up.whiteouts",
                                [](auto& o) -> auto& { return o.copy_up.whiteouts; }),
    choice<mark_names_names>("copy_up.xattrs", "copy-up.xattrs",
                             [](auto& o) -> auto& { return o.copy_up.xattrs; }),

    duration("cache.entry", "cache.entry", [](auto& o) -> auto& { return o.cache.entry; }),
    duration("cache.negative_entry", "cache.negative-entry",
             [](auto& o) -> auto& { return o.cache.negative_entry; }),
    duration("cache.attributes", "cache.attr", [](auto& o) -> auto& { return o.cache.attributes; }),
    boolean("cache.symlinks", "cache.symlinks", [](auto& o) -> auto& { return o.cache.symlinks; }),
    boolean("cache.readdir", "cache.readdir", [](auto& o) -> auto& { return o.cache.readdir; }),
    boolean("cache.exclusive", "cache.exclusive",
            [](auto& o) -> auto& { return o.cache.exclusive; }),

    {"passthrough.mode", "passthrough.io", SettingKind::Choice, apply_passthrough,
     show_passthrough},
    count<2>("passthrough.max_stack_depth", "passthrough.max-stack-depth",
             [](auto& o) -> auto& { return o.passthrough.max_stack_depth; }),
    size("passthrough.small_files", "passthrough.small-files",
         [](auto& o) -> auto& { return o.passthrough.small_files; }),
    duration("passthrough.attach", "passthrough.attach",
             [](auto& o) -> auto& { return o.passthrough.attach; }),
    choice<readers_names>("readers", "readers", [](auto& o) -> auto& { return o.readers; }),

    choice<lock_scope_names>("locks", "locks", [](auto& o) -> auto& { return o.locks; }),
    boolean("io_uring", "io-uring", [](auto& o) -> auto& { return o.io_uring; }),
    boolean("posix_acl", "posix-acl", [](auto& o) -> auto& { return o.posix_acl; }),
    boolean("volatile", "volatile", [](auto& o) -> auto& { return o.is_volatile; }),
    {"xattrs", "xattr", SettingKind::Boolean, apply_xattrs,
     [](const Options& o) -> std::optional<std::string> { return o.xattrs ? "true" : "false"; }},

    choice<log_level_names>("logging.level", "log.level",
                            [](auto& o) -> auto& { return o.logging.level; }),
    {"logging.target", "log.target", SettingKind::Text, apply_log_target,
     [](const Options& o) -> std::optional<std::string> { return o.logging.target; }},

    count<1024>("limits.threads", "threads", [](auto& o) -> auto& { return o.limits.threads; }),
    count<1'000'000>("limits.open_directories", "open-directories",
                     [](auto& o) -> auto& { return o.limits.open_directories; }),
    count<65'535>("limits.max_background", "max-background",
                  [](auto& o) -> auto& { return o.limits.max_background; }),
    // A number alone counts KiB, as mergerfs and /sys/class/bdi have it.
    size<1024, 1 << 30>("limits.readahead", "readahead",
                        [](auto& o) -> auto& { return o.limits.readahead; }),

    boolean("mount.read_only", "", [](auto& o) -> auto& { return o.read_only; }),
    boolean("mount.nosuid", "", [](auto& o) -> auto& { return o.no_suid; }),
    boolean("mount.nodev", "", [](auto& o) -> auto& { return o.no_dev; }),
    boolean("mount.noexec", "", [](auto& o) -> auto& { return o.no_exec; }),
    boolean("mount.noatime", "", [](auto& o) -> auto& { return o.no_atime; }),
    boolean("mount.nodiratime", "", [](auto& o) -> auto& { return o.no_dir_atime; }),
    boolean("mount.relatime", "", [](auto& o) -> auto& { return o.relatime; }),
    boolean("mount.sync", "", [](auto& o) -> auto& { return o.synchronous; }),
    boolean("mount.dirsync", "", [](auto& o) -> auto& { return o.dir_sync; }),
    boolean("mount.allow_other", "allow-other", [](auto& o) -> auto& { return o.allow_other; }),
    boolean("mount.nonempty", "nonempty", [](auto& o) -> auto& { return o.nonempty; }),
    text("mount.fsname", "fsname", [](auto& o) -> auto& { return o.fsname; }),
    text("mount.subtype", "subtype", [](auto& o) -> auto& { return o.subtype; }),
};

}  // namespace

std::span<const Setting> settings() {
    return kSettings;
}

const Setting* find_setting(std::string_view yaml) {
    const auto* found = std::ranges::find(kSettings, yaml, &Setting::yaml);
    return found == std::end(kSettings) ? nullptr : found;
}

const Setting* find_option(std::string_view option) {
    if (option.empty()) return nullptr;
    const auto* found = std::ranges::find(kSettings, option, &Setting::option);
    return found == std::end(kSettings) ? nullptr : found;
}

Parsed<void> apply_setting(const Setting& setting, Draft& draft, std::string_view value,
                           const Location& where) {
    auto applied = setting.apply(draft, value, where);
    if (applied) draft.origins.insert_or_assign(std::string(setting.yaml), where);
    return applied;
}

std::span<const std::string_view> structural_keys() {
    static constexpr std::string_view kKeys[] = {"version", "mountpoint", "branches"};
    return kKeys;
}

std::span<const std::string_view> branch_keys() {
    static constexpr std::string_view kKeys[] = {"path",           "glob", "mode",
                                                 "min_free_space", "work", "readers"};
    return kKeys;
}

std::vector<std::string_view> keys_below(std::string_view section) {
    std::vector<std::string_view> keys;
    const auto add = [&](std::string_view key) {
        if (std::ranges::find(keys, key) == keys.end()) keys.push_back(key);
    };
    if (section.empty())
        for (const std::string_view key : structural_keys()) add(key);
    for (const Setting& setting : kSettings) {
        std::string_view rest = setting.yaml;
        if (!section.empty()) {
            if (!rest.starts_with(section) || rest.size() == section.size() ||
                rest[section.size()] != '.')
                continue;
            rest.remove_prefix(section.size() + 1);
        }
        add(rest.substr(0, rest.find('.')));
    }
    return keys;
}

}  // namespace plyfs::config
