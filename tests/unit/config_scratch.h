// SPDX-License-Identifier: GPL-2.0-or-later
//
// A directory for one test, removed with everything in it, and shorthands to fill it and to load a
// configuration in it.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include "config/configuration.h"

namespace plyfs::config::test {

class Scratch {
public:
    Scratch() {
        std::string name = std::filesystem::temp_directory_path() / "plyfs-test-XXXXXX";
        if (mkdtemp(name.data()) == nullptr) std::abort();
        path_ = std::filesystem::canonical(name).string();
    }
    Scratch(const Scratch&) = delete;
    Scratch& operator=(const Scratch&) = delete;
    ~Scratch() {
        std::error_code error;
        std::filesystem::remove_all(path_, error);
    }

    const std::string& path() const { return path_; }
    std::string operator/(std::string_view name) const { return path_ + '/' + std::string(name); }

    std::string directory(std::string_view name) const {
        std::filesystem::create_directories(*this / name);
        return *this / name;
    }
    std::string file(std::string_view name, std::string_view content = "") const {
        std::ofstream(*this / name) << content;
        return *this / name;
    }

    Environment environment() const { return {path_, true}; }

private:
    std::string path_;
};

inline std::vector<std::string> texts(const ConfigErrors& errors) {
    std::vector<std::string> all;
    for (const ConfigError& error : errors) all.push_back(to_text(error));
    return all;
}

// The one error, or all of them joined, so that a failed comparison shows them.
inline std::string text_of(const ConfigErrors& errors) {
    std::string all;
    for (const std::string& text : texts(errors)) all += (all.empty() ? "" : "\n") + text;
    return all;
}

}  // namespace plyfs::config::test
