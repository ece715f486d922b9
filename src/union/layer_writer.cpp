// SPDX-License-Identifier: GPL-2.0-or-later
#include "union/layer_writer.h"

namespace plyfs {

Result<format::MarkFormat> LayerWriter::known_format() {
    if (format_) return *format_;
    const int work = TRY(work_.work());
    const auto chosen = format::choose_format(TRY(format::probe_marks(work)), wish_);
    if (!chosen) return fail(EOPNOTSUPP);
    format_ = *chosen;
    return *format_;
}

Result<format::MarkFormat> LayerWriter::format() {
    const Lock lock(mutex_);
    return known_format();
}

Result<format::WhiteoutMaker*> LayerWriter::whiteouts() {
    const Lock lock(mutex_);
    if (!whiteouts_) {
        const format::MarkFormat format = TRY(known_format());
        whiteouts_ = std::make_unique<format::WhiteoutMaker>(TRY(work_.work()), format);
    }
    return whiteouts_.get();
}

void LayerWriter::release() {
    const Lock lock(mutex_);
    if (!whiteouts_) return;
    (void)whiteouts_->release();  // a name left in the work directory is swept by the next mount
    whiteouts_.reset();
}

}  // namespace plyfs
