// SPDX-License-Identifier: Apache-2.0
// Closes the region that target_begin.h opened.
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
