// SPDX-License-Identifier: GPL-2.0-or-later
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <utility>

#include "config/branch_expansion.h"
#include "config/configuration.h"
#include "config/mount_options.h"
#include "config/overlay_form.h"
#include "config/yaml_reader.h"

namespace plyfs::config {

namespace {

constexpr std::string_view kOptionsSource = "-o options";
constexpr auto kExclusiveValidity = std::chrono::hours(24);

void append(ConfigErrors& errors, ConfigErrors&& more) {
    std::ranges::move(more, std::back_inserter(errors));
}

// The last config=FILE, if any.
std::optional<std::string> named_file(const std::vector<Option>& options, const Location& where,
                                      ConfigErrors& errors) {
    std::optional<std::string> file;
    Location place = where;
    place.key = "config";
    for (const Option& option : options) {
        if (option.key != "config") continue;
        if (!option.value || option.value->empty())
            errors.push_back({place, "needs a value", "config=FILE.yaml"});
        else if (file)
            errors.push_back({place, "is given twice", "keep one"});
        else
            file = *option.value;
    }
    return file;
}

void read_source(const Request& request, const Location& where, bool has_file, Draft& draft,
                 ConfigErrors& errors) {
    const Location source{"command line", where.directory, 0, 0, "branches"};
    if (is_yaml_file(absolute_path(request.source, where.directory))) {
        if (has_file)
            errors.push_back({source, "the source is a YAML file and config= names another",
                              "give one of them"});
        else
            append(errors, read_yaml_file(absolute_path(request.source, where.directory),
                                          request.source, draft));
    } else if (request.source.ends_with(".yaml") || request.source.ends_with(".yml")) {
        errors.push_back({source, request.source + ": no such file",
                          "a source that ends in .yaml is a configuration file"});
    } else if (!request.source.empty() && !(has_file && request.source == "none")) {
        draft.branches.clear();
        draft.origins.insert_or_assign("branches", source);
        parse_branch_list(request.source, source, draft.branches, errors);
    }
}

// Options that name the branches stand for the source.
void read_branches(const Request& request, const std::vector<Option>& options,
                   const Location& where, bool has_file, Draft& draft, ConfigErrors& errors) {
    if (!is_overlay_form(options)) return read_source(request, where, has_file, draft, errors);
    if (is_yaml_file(absolute_path(request.source, where.directory)))
        errors.push_back({{"command line", where.directory, 0, 0, "branches"},
                          "the source is a YAML file, and options name layers",
                          "give one of them, or the file by config="});
    append(errors, read_overlay_form(options, where, draft));
}

Draft default_draft(const Environment& environment) {
    Draft draft;
    draft.options.allow_other = environment.root;
    return draft;
}

// Defaults that follow from other settings.
void complete(Draft& draft, const Environment& environment) {
    Options& options = draft.options;
    const auto given = [&](std::string_view key) { return draft.origins.contains(key); };
    // Layers that change below a mount are nothing that users of this form expect to work.
    if (draft.overlay_form && !given("cache.exclusive")) options.cache.exclusive = true;
    if (options.cache.exclusive) {
        if (!given("cache.entry")) options.cache.entry = kExclusiveValidity;
        if (!given("cache.negative_entry")) options.cache.negative_entry = kExclusiveValidity;
        if (!given("cache.attributes")) options.cache.attributes = kExclusiveValidity;
    }
    if (!options.xattrs && !given("posix_acl")) options.posix_acl = false;
    if (draft.overlay_form) {
        if (!given("min_free_space")) options.min_free_space = 0;
        if (!given("policies.create")) options.policies.create = Policy::Ff;
        options.read_only |= std::ranges::none_of(draft.branches, [](const BranchPattern& branch) {
            return branch.mode == BranchMode::ReadWrite;
        });
    }
    // fusermount3 forces both on whoever is not root.
    if (!environment.root) options.no_suid = options.no_dev = true;
}

// Real as far as it exists: what is missing is for validate() to say.
std::string real_directory(const std::string& path) {
    if (path.empty()) return path;
    std::error_code error;
    const auto real = std::filesystem::canonical(path, error);
    return error ? path : real.string();
}

void take_branches(const Draft& draft, Configuration& configuration, ConfigErrors& errors) {
    Options& options = configuration.options;
    std::vector<std::pair<BranchOptions, Location>> read_only;
    for (const BranchPattern& pattern : draft.branches) {
        auto paths = expand(pattern);
        if (!paths) {
            errors.push_back(std::move(paths.error()));
            continue;
        }
        for (std::string& path : *paths) {
            BranchOptions branch{std::move(path), pattern.mode, pattern.min_free_space, {}};
            branch.readers = pattern.readers;
            if (pattern.work_directory)
                branch.work_directory =
                    real_directory(absolute_path(*pattern.work_directory, pattern.where.directory));
            if (branch.mode == BranchMode::ReadOnly) {
                read_only.emplace_back(std::move(branch), pattern.where);
            } else {
                options.branches.push_back(std::move(branch));
                configuration.branch_origins.push_back(pattern.where);
            }
        }
    }
    for (auto& [branch, where] : read_only) {
        options.branches.push_back(std::move(branch));
        configuration.branch_origins.push_back(std::move(where));
    }
}

// False where config=FILE stands in for the source.
bool names_source(const Request& request) {
    return !request.source.empty() && request.source != "none";
}

std::string joined_paths(const std::vector<BranchOptions>& branches) {
    std::string joined;
    for (const BranchOptions& branch : branches)
        joined += (joined.empty() ? "" : ":") + branch.path;
    return joined;
}

// What the mount is called in tables of mounts: as given, by which mount(8) tells that a line of
// fstab is mounted already.
std::string default_name(const Request& request, const Draft& draft, const Options& options) {
    if (draft.overlay_form) return request.source.empty() ? "plyfs" : request.source;
    return names_source(request) ? request.source : joined_paths(options.branches);
}

std::expected<Configuration, ConfigErrors> configuration_of(Draft draft, const Request& request,
                                                            const Environment& environment,
                                                            ConfigErrors errors) {
    complete(draft, environment);
    Configuration configuration;
    configuration.options = draft.options;
    configuration.options.mountpoint = real_directory(draft.options.mountpoint);
    take_branches(draft, configuration, errors);
    if (configuration.options.fsname.empty())
        configuration.options.fsname = default_name(request, draft, configuration.options);
    if (!errors.empty()) return std::unexpected(std::move(errors));
    configuration.origins = std::move(draft.origins);
    configuration.warnings = std::move(draft.warnings);
    return configuration;
}

}  // namespace

Environment Environment::current() {
    std::error_code error;
    return {std::filesystem::current_path(error).string(), geteuid() == 0};
}

bool names_layers(const std::vector<std::string>& option_lists) {
    return std::ranges::any_of(
        option_lists, [](const std::string& list) { return is_overlay_form(split_options(list)); });
}

bool is_yaml_file(const std::string& source) {
    std::error_code error;
    return (source.ends_with(".yaml") || source.ends_with(".yml")) &&
           std::filesystem::is_regular_file(source, error);
}

std::expected<Configuration, ConfigErrors> load(const Request& request,
                                                const Environment& environment) {
    Location where{std::string(kOptionsSource), environment.directory, 0, 0, ""};
    std::vector<Option> options;
    for (const std::string& list : request.option_lists)
        std::ranges::move(split_options(list), std::back_inserter(options));

    ConfigErrors errors;
    Draft draft = default_draft(environment);
    const auto file = named_file(options, where, errors);
    if (file)
        append(errors, read_yaml_file(absolute_path(*file, environment.directory), *file, draft));
    read_branches(request, options, where, file.has_value(), draft, errors);
    // Container engines hand on options of the tool they know.
    const bool sloppy = request.sloppy || is_overlay_form(options);
    append(errors, apply_options(options, where, sloppy, draft));
    if (!request.mountpoint.empty()) {
        draft.options.mountpoint = absolute_path(request.mountpoint, environment.directory);
        draft.origins.insert_or_assign(
            "mountpoint", Location{"command line", environment.directory, 0, 0, "mountpoint"});
    }

    return configuration_of(std::move(draft), request, environment, std::move(errors));
}

std::expected<Configuration, ConfigErrors> load_dump(const std::string& text,
                                                     const Environment& environment) {
    constexpr auto kSource = "the configuration that was handed over";
    Draft draft = default_draft(environment);
    ConfigErrors errors = read_yaml(text, kSource, "/", draft);
    auto configuration = configuration_of(std::move(draft), {}, environment, std::move(errors));
    if (configuration && dump(configuration->options) != text) {
        return std::unexpected(
            ConfigErrors{{{kSource, "/", 0, 0, "branches"},
                          "it can't be said in YAML, or means something else by now",
                          "unmount and mount again"}});
    }
    return configuration;
}

}  // namespace plyfs::config
