// SPDX-License-Identifier: GPL-2.0-or-later
#include "config/option_list.h"

#include <algorithm>

namespace plyfs::config {

std::vector<Option> split_options(std::string_view text) {
    std::vector<Option> options;
    Option option;
    const auto finish = [&] {
        if (!option.written.empty() || option.value) {
            option.key = option.written;
            std::ranges::replace(option.key, '_', '-');
            options.push_back(std::move(option));
        }
        option = {};
    };
    for (std::size_t i = 0; i < text.size(); ++i) {
        char c = text[i];
        if (c == ',') {
            finish();
            continue;
        }
        if (c == '=' && !option.value) {
            option.value.emplace();
            continue;
        }
        if (option.value) option.raw += c;
        if (c == '\\' && i + 1 < text.size() && (text[i + 1] == ',' || text[i + 1] == '\\')) {
            c = text[++i];
            if (option.value) option.raw += c;
        }
        (option.value ? *option.value : option.written) += c;
    }
    finish();
    return options;
}

}  // namespace plyfs::config
