/* placeholder until the folder has its first module */
extern int image_placeholder_;
int image_placeholder_;
