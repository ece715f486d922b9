// SPDX-License-Identifier: GPL-2.0-or-later
#include <cerrno>
#include <filesystem>
#include <fstream>

#include <fmt/format.h>

#include "config/yaml_document.h"
#include "config/yaml_reader.h"

namespace plyfs::config {

ConfigErrors read_yaml_file(const std::string& path, const std::string& source, Draft& draft) {
    const Location whole{source, "", 0, 0, ""};
    const auto failed = [&](int error) -> ConfigErrors {
        return {{whole, std::generic_category().message(error), ""}};
    };
    std::error_code error;
    const std::filesystem::path real = std::filesystem::canonical(path, error);
    if (error) return failed(error.value());
    // A fifo would block the open below for ever.
    if (!std::filesystem::is_regular_file(real, error))
        return {{whole, "is not a regular file", ""}};

    errno = 0;
    std::ifstream file(real, std::ios::binary);
    if (!file) return failed(errno == 0 ? EIO : errno);
    // One byte more than is allowed tells a file that is too large.
    std::string text(kLargestFile + 1, '\0');
    file.read(text.data(), static_cast<std::streamsize>(text.size()));
    if (file.bad()) return failed(EIO);
    text.resize(static_cast<std::size_t>(file.gcount()));
    return read_yaml(text, source, real.parent_path().string(), draft);
}

}  // namespace plyfs::config
