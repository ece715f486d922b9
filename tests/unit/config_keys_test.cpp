// SPDX-License-Identifier: GPL-2.0-or-later
//
// Holds what describes the configuration (JSON schema, manual pages, samples) against the table of
// settings that reads it.
#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

#include <catch2/catch_test_macros.hpp>

#include "config/mount_options.h"
#include "config/option_table.h"
#include "config/overlay_form.h"
#include "config/settings.h"
#include "config/yaml_reader.h"
#include "config_scratch.h"

using namespace plyfs::config;

namespace {

namespace fs = std::filesystem;
using Names = std::set<std::string>;

const fs::path kRoot = PLYFS_SOURCE_DIR;

std::string content(const fs::path& path) {
    std::ifstream file(kRoot / path);
    REQUIRE(file);
    std::ostringstream text;
    text << file.rdbuf();
    return text.str();
}

std::vector<std::string> lines(const std::string& text) {
    std::vector<std::string> all;
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);) all.push_back(line);
    return all;
}

// All keys of the file as the manual names them.
Names known_keys() {
    Names names;
    for (const std::string_view key : structural_keys()) names.emplace(key);
    for (const std::string_view key : branch_keys()) names.insert("branches." + std::string(key));
    for (const Setting& setting : settings()) names.emplace(setting.yaml);
    return names;
}

std::string normalized(std::string name) {
    std::ranges::replace(name, '_', '-');
    return name;
}

Names known_option_names() {
    Names names{"config"};
    for (const std::string_view option : overlay_options()) names.emplace(option);
    for (const Alias& alias : aliases()) names.emplace(alias.option);
    for (const Setting& setting : settings())
        if (!setting.option.empty()) names.emplace(setting.option);
    for (const Flag& flag : flags()) names.emplace(flag.option);
    for (const ForeignOption& foreign : foreign_options()) names.emplace(foreign.option);
    return names;
}

// The leaves of the schema below `node`. Alternatives (anyOf) count together; what a $ref names
// has no keys, but for that of a branch.
void collect(const YAML::Node& node, const std::string& prefix, Names& names) {
    if (node["properties"]) {
        for (const auto& property : node["properties"]) {
            const std::string key = prefix + property.first.Scalar();
            Names below;
            collect(property.second, key + '.', below);
            if (below.empty()) below.insert(key);
            names.merge(below);
        }
    }
    for (const auto& alternative : node["anyOf"]) collect(alternative, prefix, names);
}

// The schema's part for a key, through sections and their alternatives.
YAML::Node find_property(const YAML::Node& schema, std::string_view key) {
    const std::string first(key.substr(0, key.find('.')));
    for (const auto& alternative : schema["anyOf"])
        if (alternative["properties"]) return find_property(alternative, key);
    const YAML::Node found = schema["properties"][first];
    if (first.size() == key.size()) return found;
    return find_property(found, key.substr(first.size() + 1));
}

// reference.yaml with its keys uncommented: lines like `  # key: value`.
std::string uncommented(const std::string& text) {
    constexpr std::string_view kLetters = "abcdefghijklmnopqrstuvwxyz_";
    std::string out;
    for (const std::string& line : lines(text)) {
        const std::size_t mark = line.find("# ");
        const std::size_t end =
            line.find_first_not_of(kLetters, mark == std::string::npos ? 0 : mark + 2);
        const bool is_key = mark != std::string::npos && line.find_first_not_of(' ') == mark &&
                            end != mark + 2 && line.substr(std::min(end, line.size()), 2) == ": ";
        out += is_key ? line.substr(0, mark) + line.substr(mark + 2) : line;
        out += '\n';
    }
    return out;
}

}  // namespace

TEST_CASE("the JSON schema has the keys that the file may have", "[config]") {
    const YAML::Node schema = YAML::Load(content("config/plyfs.schema.json"));
    Names names;
    collect(schema, "", names);
    names.insert("branches");
    collect(schema["definitions"]["branch"], "branches.", names);
    CHECK(names == known_keys());
}

TEST_CASE("the JSON schema states the defaults in force", "[config]") {
    const YAML::Node schema = YAML::Load(content("config/plyfs.schema.json"));
    for (const Setting& setting : settings()) {
        const YAML::Node standard = find_property(schema, setting.yaml)["default"];
        if (!standard) continue;
        Draft draft;
        CAPTURE(setting.yaml);
        REQUIRE(setting.apply(draft, standard.Scalar(), {}));
        CHECK(setting.show(draft.options) == setting.show(Options{}));
    }
}

TEST_CASE("plyfs.yaml(5) describes every key and no other", "[config]") {
    constexpr std::string_view kItem = ".It Ic ";
    Names names;
    for (const std::string& line : lines(content("man/plyfs.yaml.5"))) {
        if (line.starts_with(kItem)) names.insert(line.substr(kItem.size()));
    }
    CHECK(names == known_keys());
}

TEST_CASE("mount.plyfs(8) names every option and describes no other", "[config]") {
    Names named;
    Names described;
    for (const std::string& line : lines(content("man/mount.plyfs.8"))) {
        const bool item = line.starts_with(".It Cm ");
        if (!item && !line.starts_with(".Cm ")) continue;
        std::istringstream words(line.substr(line.find("Cm ") + 3));
        std::string word;
        words >> word;
        if (item && word != "func.") described.insert(normalized(word));
        do named.insert(normalized(word));
        while (words >> word);
    }
    const Names known = known_option_names();
    Names missing;
    std::ranges::set_difference(known, named, std::inserter(missing, missing.end()));
    CHECK(missing.empty());
    Names unknown;
    std::ranges::set_difference(described, known, std::inserter(unknown, unknown.end()));
    CHECK(unknown.empty());
}

TEST_CASE("the sample files are read without errors", "[config]") {
    for (const auto& entry : fs::directory_iterator(kRoot / "config")) {
        if (entry.path().extension() != ".yaml") continue;
        CAPTURE(entry.path().filename());
        Draft draft;
        CHECK(test::text_of(read_yaml_file(entry.path().string(), "sample", draft)).empty());
        CHECK_FALSE(draft.branches.empty());
    }
}

TEST_CASE("the reference file has every key with its default", "[config]") {
    Draft draft;
    const auto errors =
        read_yaml(uncommented(content("config/reference.yaml")), "reference.yaml", "/", draft);
    CHECK(test::text_of(errors).empty());
    for (const Setting& setting : settings()) {
        CAPTURE(setting.yaml);
        CHECK(draft.origins.contains(setting.yaml));
    }
    for (const auto& [function, policy] : draft.options.policies.functions) {
        const PolicyOptions& policies = draft.options.policies;
        CHECK(
            (policy == policies.create || policy == policies.search || policy == policies.action));
    }
    CHECK(draft.options.copy_up.policy == draft.options.policies.create);
    draft.options.policies.functions.clear();
    draft.options.copy_up.policy.reset();
    draft.options.mountpoint.clear();
    CHECK(draft.options == Options{});
}

TEST_CASE("the options of the sample fstab are accepted without warnings", "[config]") {
    int entries = 0;
    for (const std::string& line : lines(content("config/fstab.example"))) {
        if (line.empty() || line.starts_with('#')) continue;
        std::istringstream fields(line);
        std::string source;
        std::string mountpoint;
        std::string type;
        std::string options;
        fields >> source >> mountpoint >> type >> options;
        CAPTURE(line);
        Draft draft;
        CHECK(apply_options(split_options(options), {}, false, draft).empty());
        CHECK(draft.warnings.empty());
        CHECK((type == "plyfs" || type == "fuse.plyfs"));
        ++entries;
    }
    CHECK(entries > 2);
}
