/* placeholder until the folder has its first module */
extern int codec_placeholder_;
int codec_placeholder_;
